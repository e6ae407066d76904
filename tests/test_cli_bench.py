"""`uda4inst bench`: networks of both tasks, fresh and trained, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
import torch

from uda4inst import cli
from uda4inst.tasks import task_of

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
