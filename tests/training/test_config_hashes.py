"""Finished runs stay finished: configurations have the hashes they had at commit 2bd169c.

A hash that must change is mapped, old to new, in `docs/results/`, and only then changed in the
fixture. `tests/fixtures/README.md` says how the fixture was made.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import expand
from uda4inst.suites.scales import find_scale
from uda4inst.training.config import config_hash, load_config, preset_names

TARGET = ("target", "val")
HASHES = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "config_hashes.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("preset", HASHES["presets"])
def test_config_hash__of_a_preset_is_what_it_was(preset: str) -> None:
    assert config_hash(load_config(preset)) == HASHES["presets"][preset]


def test_config_hash__no_preset_has_gone() -> None:
    assert set(HASHES["presets"]) <= set(preset_names())


@pytest.mark.parametrize("suite", HASHES["toy"])
def test_config_hash__of_every_run_of_a_toy_table_is_what_it_was(suite: str) -> None:
    # Their scenes were in one place, before there were several sets.
    old = "data/toystreets_suites"
    roots = (
        f"data.source.root={old}/urbansyn",
        *(f"data.{d}.root={old}/cityscapes" for d in TARGET),
        "evaluation.stage1=true",  # stage-1 runs were judged
        "method.pool.riders=left",  # chosen for this scale later
    )
    cells = [Cell(None, seed) for seed in (0, 1, 2)]
    scale = find_scale("toy")
    runs = expand(SUITES[suite], scale, cells, root=Path("runs"), overrides=roots).runs
    hashes = {run.name: run.config_hash for run in runs}
    known = HASHES["toy"][suite]  # rows may have come later
    assert {name: hashes.get(name) for name in known} == known
