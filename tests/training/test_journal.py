from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from uda4inst.classes import THING_NAMES
from uda4inst.methods.base import Figure, LossTerm
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.run_folder.metrics import MetricsLog
from uda4inst.structures import DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.training.journal import Journal, RunFailedError, StepFacts, check_weights

Make = Callable[[int], Journal]


class AloneProcess:
    """One process on the CPU."""

    count = 1
    rank = 0
    device = torch.device("cpu")

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def gather(self, value: Any) -> list[Any]:
        return [value]


def batch() -> DomainBatch:
    size = (2, 2)
    source = Sample(torch.zeros(3, *size), "s1", "source", instances=InstanceMap.empty(size))
    target = TargetSample(torch.zeros(3, *size), torch.ones(size, dtype=torch.bool), "t1")
    return DomainBatch(source=(source,) * 2, target=(target,) * 2)


def facts(step: int) -> StepFacts:
    return StepFacts(step=step, stage=2, lr=1e-4, batch=batch(), ended=9.0, seconds=0.5)


def terms(value: float = 2.0) -> list[LossTerm]:
    return [
        LossTerm("s2t/class", torch.tensor(value), 0.5),
        LossTerm("s2t/mask", torch.tensor(4.0), 0.25),
    ]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Callable[[int], Journal]]:
    metrics = MetricsLog(tmp_path / "m.jsonl")

    def make(log_every: int) -> Journal:
        return Journal(
            AloneProcess(),  # type: ignore[arg-type]
            metrics,
            log_every=log_every,
            failed_batch=tmp_path / "failed_batch",
        )

    yield make
    metrics.close()


def record(to: Journal, step: int, value: float = 2.0, grad_norm: float = 1.5) -> None:
    figures = {
        "pseudo_labels": Figure(torch.arange(8), THING_NAMES),
        "pool": Figure(torch.tensor(3), summed=False),
    }
    to.record(facts(step), terms(value), grad_norm=torch.tensor(grad_norm), figures=figures)


def test_journal__line_of_a_step(tmp_path: Path, journal: Make) -> None:
    record(journal(1), 7)
    line = json.loads((tmp_path / "m.jsonl").read_text())
    assert line.pop("memory_mib") > 0
    assert line == {
        "step": 7,
        "stage": 2,
        "time": 9.0,
        "loss": 2.0,
        "losses": {"s2t/class": 2.0, "s2t/mask": 4.0},
        "lr": 1e-4,
        "grad_norm": 1.5,
        "pseudo_labels": {
            "person": 0,
            "rider": 1,
            "car": 2,
            "truck": 3,
            "bus": 4,
            "train": 5,
            "motorcycle": 6,
            "bicycle": 7,
        },
        "pool": 3,
        "images_per_second": 4.0,
    }


def test_journal__logs_every_nth_step(tmp_path: Path, journal: Make) -> None:
    kept = journal(3)
    for step in range(7):
        record(kept, step)
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 3, 6]


@pytest.mark.parametrize(
    ("value", "grad_norm", "words"),
    [
        pytest.param(float("nan"), 1.0, "s2t/class = nan at step 5", id="nan-term"),
        pytest.param(float("-inf"), 1.0, "s2t/class = -inf at step 5", id="inf-term"),
        pytest.param(2.0, float("inf"), "gradient norm = inf at step 5", id="inf-gradient"),
    ],
)
def test_journal__non_finite_names_term_step_and_samples(
    tmp_path: Path, journal: Make, value: float, grad_norm: float, words: str
) -> None:
    # Even at a step that is not logged.
    kept = journal(100)
    with pytest.raises(RunFailedError, match=words) as caught:
        record(kept, 5, value=value, grad_norm=grad_norm)
    assert "samples s1, s1, t1, t1" in str(caught.value)
    saved = torch.load(tmp_path / "failed_batch" / "batch.pt", weights_only=True)
    assert [s["sample_id"] for s in saved["source"]] == ["s1", "s1"]
    assert set(saved["target"][0]) == {"sample_id", "image", "valid"}
    assert (tmp_path / "m.jsonl").read_text() == ""


def test_journal__says_when_the_loss_explodes(
    journal: Make, caplog: pytest.LogCaptureFixture
) -> None:
    one = journal(1)
    for step, value in enumerate([2.0, 3.0, 250.0, 500.0, 600.0, 6000.0, 900.0]):
        one.record(facts(step), terms(value)[:1], grad_norm=torch.tensor(1.0), figures={})
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in said] == ["step 2", "step 5"]
    assert "the loss is 125 and was as low as 1: the training explodes" in said[0]


def test_check_weights__names_the_network_and_the_step(
    make_mini: Callable[[int], Mask2Former],
) -> None:
    student, teacher = make_mini(0), make_mini(1)
    check_weights({"student": student, "teacher": teacher}, 5)
    name, parameter = next(iter(teacher.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] = float("nan")
    with pytest.raises(RunFailedError, match=rf"teacher's {name} after step 5, which is not saved"):
        check_weights({"student": student, "teacher": teacher}, 5)
