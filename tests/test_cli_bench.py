"""`uda4inst bench`: networks of both tasks, fresh and trained, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import torch

from uda4inst import cli
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.speeds import read_speeds
from uda4inst.tasks import task_of
from uda4inst.training import launch
from uda4inst.training.config import load_config

Cli = Callable[..., tuple[int, str, str]]
QUICK = ("--size", "64x96", "--repeats", "2", "--warm-up", "1", "--device", "cpu")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command; return exit code, standard output and error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["uda4inst", "bench", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("preset", ["tiny", "bisenet_tiny"])
def test_bench__measures_a_preset_of_either_task(bench: Cli, preset: str) -> None:
    code, out, err = bench(preset, *QUICK, "--batch", "2", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    network, _ = task_of(preset).build_network(preset, weights=None)
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert facts["gflops"] > 0
    assert 0 < facts["latency_p50_ms"] <= facts["latency_p95_ms"]
    assert facts["images_per_second"] > 0
    assert facts["peak_memory_of"] == "process"
    assert (facts["batch"], facts["size"], facts["precision"]) == (2, [64, 96], "fp32")
    assert (facts["repeats"], facts["warm_up"]) == (2, 1)
    assert facts["torch"] == torch.__version__
    assert facts["machine"]


def test_bench__says_the_same_to_people(bench: Cli) -> None:
    code, out, _ = bench("mit_tiny", *QUICK, "--precision", "bf16")
    assert code == 0
    words = (
        "mit_tiny, fresh weights",
        "1.00 M",
        "two a multiply-add",
        "1 of 64x96 at once, bf16",
        "images a second",
        "p95",
        "whole process",
        "2 batches after 1 to warm up",
        "threads of torch",
    )
    assert [word for word in words if word not in out] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("bisenet_r81",), "Did you mean bisenet_r18?", id="neither"),
        pytest.param(("mit_tiny", "--size", "64"), "HEIGHTxWIDTH", id="size"),
        pytest.param(
            ("mit_tiny", "--device", "cuda"),
            "--device must be there, got cuda",
            id="no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_bench__refuses_with_one_message(
    bench: Cli, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, short_run: Callable[..., list[str]]) -> Path:
    """A folder of runs with one in it, of one step."""
    root = tmp_path_factory.mktemp("runs")
    options = (
        "training.stage1_steps=0",
        "training.stage2_steps=1",
        "training.snapshot_every=0",
        "evaluation.limit=1",
    )
    launch.train(load_config("toystreets_semantic_smoke", short_run(root, "measured", *options)))
    return root


def test_bench__keeps_what_it_measured_of_a_run(bench: Cli, trained: Path) -> None:
    run = RunDir(trained / "measured")
    arguments = ("measured", *QUICK, "--root", str(trained), "--json")
    assert bench(*arguments)[0] == 0
    code, out, _ = bench(*arguments)
    assert code == 0
    records = read_speeds(run.speeds).records
    assert len(records) == 2
    assert json.loads(records[1].model_dump_json()) == json.loads(out)
    last = records[1]
    assert (last.run, last.step, last.of) == ("measured", 1, "student")
    assert last.commit == current_commit()
    assert datetime.fromisoformat(last.time).tzinfo is not None
    bench("measured", *QUICK, "--root", str(trained), "--no-keep")
    assert len(read_speeds(run.speeds).records) == 2


def test_bench__of_a_preset_is_kept_when_asked(bench: Cli, tmp_path: Path) -> None:
    for more in ((), ("--keep",)):
        assert bench("mit_tiny", *QUICK, "--root", str(tmp_path), *more)[0] == 0
    (kept,) = read_speeds(RunDir(tmp_path).speeds).records
    assert (kept.network, kept.run) == ("mit_tiny, fresh weights", None)
