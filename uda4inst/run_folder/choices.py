"""`choice.json`: how far a run's checkpoints agree, and which one that would choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from uda4inst.atomic import disk_errors, write_json
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import read_basis, said
from uda4inst.run_folder.layout import RunDir, read_json

Criterion = Literal["agreement", "stability"]


@dataclass(frozen=True, slots=True)
class ChoiceLine:
    """What was measured of one checkpoint at one score threshold.

    Args:
        step: of the checkpoint.
        network: which of its networks labels: the teacher where it has one.
        threshold: scores had to exceed it.
        pseudo_labels: of that network, an image.
        agreement: quality of student against teacher; None where there is none to tell.
        agreement_f1: the same, pairs counted alone.
        stability: quality of that network against the checkpoint before.
        stability_f1: the same, pairs counted alone.
        ap: true AP of that network, for diagnosis; None where the step was not evaluated.
        judged: protocol, network, step and images of that AP, in words.
    """

    step: int
    network: str
    threshold: float
    pseudo_labels: float
    agreement: float | None
    agreement_f1: float | None
    stability: float | None
    stability_f1: float | None
    ap: float | None
    judged: str = ""

    def value(self, criterion: Criterion) -> float | None:
        """Return the number that a choice goes by."""
        return self.agreement if criterion == "agreement" else self.stability


@dataclass(frozen=True, slots=True)
class RunChoice:
    """Content of `choice.json`.

    Args:
        lines: oldest checkpoint first, in it the lowest threshold.
        by: what was chosen by.
        chosen: step and threshold; None where nothing could be compared.
        images: how many were looked at.
    """

    lines: tuple[ChoiceLine, ...]
    by: Criterion
    chosen: tuple[int, float] | None
    images: int

    @property
    def last_step(self) -> int:
        """Step of the newest checkpoint."""
        return self.lines[-1].step


def write_choice(run: RunDir, record: Mapping[str, Any]) -> None:
    """Write what was measured, whole.

    Raises:
        UserError: the disk is full or fails.
    """
    with disk_errors("choice", run.choice, then="choose again"):
        write_json(run.choice, record)


def read_choice(run: RunDir) -> RunChoice | None:
    """Return what was measured of a run; None where nothing was.

    Raises:
        UserError: the file is damaged.
    """
    if not run.choice.exists():
        return None
    record = read_json(run.choice)
    try:
        return parse_choice(record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(run.choice, error) from error


def parse_choice(record: Mapping[str, Any]) -> RunChoice:
    """Return a record as it is written, as values."""
    lines = tuple(
        ChoiceLine(
            step=int(checkpoint["step"]),
            network=str(checkpoint["network"]),
            threshold=float(entry["threshold"]),
            pseudo_labels=float(entry["pseudo_labels"]),
            **{
                f"{name}{suffix}": None if entry[name] is None else entry[name][key]
                for name in ("agreement", "stability")
                for suffix, key in (("", "quality"), ("_f1", "f1"))
            },
            ap=(checkpoint["diagnostic"] or {"AP": {}})["AP"].get(checkpoint["network"]),
            judged=_judged(checkpoint),
        )
        for checkpoint in record["checkpoints"]
        for entry in checkpoint["thresholds"]
    )
    chosen, by = record["chosen"], record["by"]
    if not lines or by not in ("agreement", "stability"):
        raise ValueError("nothing that was measured")
    return RunChoice(
        lines,
        by,
        None if chosen is None else (int(chosen["step"]), float(chosen["threshold"])),
        int(record["images"]),
    )


def _judged(checkpoint: Mapping[str, Any]) -> str:
    """Return how the true AP of a checkpoint was come by."""
    known = checkpoint["diagnostic"]
    if not known:
        return ""
    return said(
        read_basis(known),
        protocol=str(known.get("protocol", "")),
        network=str(checkpoint["network"]),
        step=int(checkpoint["step"]),
    )


def choose(lines: Sequence[ChoiceLine]) -> tuple[Criterion, ChoiceLine | None]:
    """Return what to choose by, and the line with the highest quality.

    By agreement where any checkpoint has a teacher to agree with, else by stability. Of equals the
    newest checkpoint, then the lowest threshold, which keeps most.
    """
    by: Criterion = "stability"
    if any(line.agreement is not None for line in lines):
        by = "agreement"
    known = [(value, line) for line in lines if (value := line.value(by)) is not None]
    if not known:
        return by, None
    return by, max(known, key=lambda one: (one[0], one[1].step, -one[1].threshold))[1]


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"choice must be a record of `uda4inst choose`, got {type(error).__name__}: {error} "
        f"({path}). Choose again to rewrite it."
    )
