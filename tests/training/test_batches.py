from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uda4inst.errors import UserError
from uda4inst.methods import METHODS
from uda4inst.training.batches import open_batches, open_data
from uda4inst.training.config import Config, load_config
from uda4inst.training.processes import Processes
from uda4inst.training.validation import choose_networks, evaluation_is_due


def test_methods__the_oracle_alone_sees_target_labels() -> None:
    sees = {name: spec.config.model_validate({}).sees for name, spec in METHODS.items()}
    assert {name for name, what in sees.items() if what == "labelled"} == {"oracle"}


@pytest.fixture
def config() -> Config:
    return load_config("toystreets_smoke", ["evaluation.stage1=true", "evaluation.every=25"])


@pytest.mark.parametrize(
    ("step", "stage_end", "due"),
    [
        pytest.param(0, False, False, id="start"),
        pytest.param(24, False, False, id="between"),
        pytest.param(25, False, True, id="every"),
        pytest.param(30, True, True, id="end-of-stage-1"),
        pytest.param(60, True, True, id="end"),
    ],
)
def test_evaluation_is_due(config: Config, step: int, stage_end: bool, due: bool) -> None:
    assert evaluation_is_due(config, step=step, stage_end=stage_end) == due


def test_evaluation_is_due__not_after_stage_1_when_switched_off() -> None:
    config = load_config("toystreets_smoke", ["evaluation.stage1=false"])
    assert not evaluation_is_due(config, step=30, stage_end=True)


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        (("student", "teacher"), "both", ["student", "teacher"]),
        (("student", "teacher"), "teacher", ["teacher"]),
        (("student",), "teacher", ["student"]),
        (("student",), "both", ["student"]),
    ],
)
def test_choose_networks(there: tuple[str, ...], wanted: str, chosen: list[str]) -> None:
    networks = dict.fromkeys(there)
    assert list(choose_networks(networks, wanted)) == chosen  # type: ignore[arg-type]


def test_check__names_every_damaged_file(
    toy: Path, tmp_path: Path, short_run: Callable[..., list[str]]
) -> None:
    tree = tmp_path / "toy"
    shutil.copytree(toy, tree)
    images = sorted((tree / "urbansyn" / "rgb").glob("*.png"))[:2]
    images[0].write_bytes(b"")
    images[1].write_bytes(b"not a picture")
    config = load_config("toystreets_smoke", short_run(tmp_path, "run", data=tree))
    with pytest.raises(UserError, match=r"2 of .* images with faults") as caught:
        open_data(config).check()
    assert [path.name in str(caught.value) for path in images] == [True, True]


def test_open_batches__stage_2_of_its_own_goes_on_where_stage_1_ended(
    tmp_path: Path, short_run: Callable[..., list[str]]
) -> None:
    both = load_config("toystreets_smoke", short_run(tmp_path, "both"))
    second = load_config(
        "toystreets_smoke", short_run(tmp_path, "second", "training.stage2_from=both")
    )
    trees, processes = open_data(both).trees, Processes.join(both)
    try:
        expected = next(open_batches(both, processes, trees, first_step=both.training.boundary))
        found = next(open_batches(second, processes, trees, first_step=0))
    finally:
        processes.leave()
    for one, other in zip(found.source, expected.source, strict=True):
        assert one.sample_id == other.sample_id
        assert torch.equal(one.image, other.image)
