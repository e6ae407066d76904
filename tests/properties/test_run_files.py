"""Whatever lies in a run folder: its readers give a value or a UserError, in bounded time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from sample_files import (
    ARRAYS,
    CHOICE,
    EVALUATION,
    MANIFEST,
    METRICS_LINE,
    OPTIMIZER,
    SNAPSHOT,
    STATUS,
)
from strange import attempt, exchanged, json_of, spoiled

from uda4inst.run_folder.checkpoints import Checkpoint, read_checkpoint
from uda4inst.run_folder.choices import read_choice
from uda4inst.run_folder.evaluations import read_evaluation
from uda4inst.run_folder.layout import RunDir, read_command, read_config_values
from uda4inst.run_folder.metrics import MetricsReader, cut_metrics, flat_numbers
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.run_folder.status import load_status, read_status
from uda4inst.training.config import load_config, preset_names
from uda4inst.yaml_dialect import parse_yaml

CONFIGS = Path(__file__).parents[2] / "uda4inst" / "configs"


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@given(st.data())
def test_configuration__is_one_or_a_message(tmp_path: Path, data: st.DataObject) -> None:
    text = (CONFIGS / f"{data.draw(st.sampled_from(preset_names()))}.yaml").read_text()
    whole = exchanged(parse_yaml(text)).map(lambda v: yaml.safe_dump(v).encode("utf-8", "replace"))
    path = put(tmp_path / "a.yaml", data.draw(st.one_of(whole, spoiled(text.encode()))))
    _, message = attempt(load_config, path)
    assert len(message) < 20_000
    assert isinstance(read_config_values(path), dict)


@given(st.text(max_size=40) | st.text(st.sampled_from("&*!{}[]:,-#?|>%@`'\"a1. \n"), max_size=60))
@example("!!int ''")
@example("!!timestamp x")
@example("? [a]\n: 1")
@example("=")
@example("!!value =")
def test_yaml__is_a_value_or_a_value_error(text: str) -> None:
    _, message = attempt(parse_yaml, text, error=ValueError)
    assert "\n" not in message


@given(json_of(STATUS))
@example(json.dumps({**STATUS, "step": -1, "pid": -1}).encode())
def test_status__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    run = RunDir(tmp_path)
    put(run.status, data)
    attempt(load_status, run.status)
    found = read_status(run)
    assert found is None or 0 <= found.progress <= 1
    assert found is None or found.pid is None or found.pid >= 0


@given(json_of(EVALUATION))
def test_evaluation__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    found, _ = attempt(read_evaluation, put(tmp_path / "a.json", data))
    if found is not None:
        for network in found.networks:
            found.value(network, "coco", "AP")
            found.value(network, "coco", "AP", "car")


@given(json_of(CHOICE))
def test_choice__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    put(RunDir(tmp_path).choice, data)
    attempt(read_choice, RunDir(tmp_path))


@given(json_of({"time": "a", "commit": "b", "resumed": [{"commit": "c"}]}))
def test_command__is_one_or_nothing(tmp_path: Path, data: bytes) -> None:
    put(RunDir(tmp_path).command, data)
    read_command(RunDir(tmp_path))


@given(
    st.lists(
        spoiled(METRICS_LINE) | st.just(METRICS_LINE) | json_of({"step": 3, "loss": 1.0}),
        max_size=4,
    )
)
@example([b"[" * 100_000 + b"\n"])
@example([b'{"\x80tep": 3}\n'])
def test_metrics__are_what_can_be_read(tmp_path: Path, lines: list[bytes]) -> None:
    path = put(tmp_path / "m.jsonl", b"".join(lines))
    for step, line in MetricsReader(path).read_new().lines:
        assert isinstance(step, int)
        flat_numbers(line)
    cut_metrics(path, 3)
    assert b"".join(lines).startswith(path.read_bytes())


@given(json_of(MANIFEST))
def test_manifest__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "manifest.json", data)
    attempt(read_checkpoint, tmp_path)


@given(spoiled(OPTIMIZER))
@example(b"\x80K" + OPTIMIZER[2:])  # an archive to zipfile, a pickle of an old kind to torch
def test_optimizer_file__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "optimizer.pt", data)
    files = {"optimizer.pt": {"bytes": len(data)}}
    _, message = attempt(Checkpoint(tmp_path, {"files": files}).load, "optimizer.pt")
    assert "weights_only" not in message


@pytest.mark.parametrize("spoil", ["facts", "arrays"])
@given(data=st.data())
def test_snapshot__is_one_or_a_message(tmp_path: Path, spoil: str, data: st.DataObject) -> None:
    run = RunDir(tmp_path)
    folder = run.snapshot_of(3)
    facts = data.draw(json_of(SNAPSHOT)) if spoil == "facts" else json.dumps(SNAPSHOT).encode()
    put(folder / "snapshot.json", facts)
    put(folder / "arrays.npz", ARRAYS if spoil == "facts" else data.draw(spoiled(ARRAYS)))
    attempt(read_snapshot, run, 3)
