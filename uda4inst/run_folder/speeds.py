"""`bench.jsonl`: how fast a run's networks were, one line a measurement, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.reading import read_bytes
from uda4inst.structures import Size


class SpeedRecord(BaseModel):
    """What `uda4inst bench` measured once.

    What a later version adds is passed over; without what is here a line is none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    network: str = Field(description="What was measured, for people.")
    run: str | None = Field(default=None, description="Name of the run; none of fresh weights.")
    step: int | None = Field(default=None, description="Of the run's checkpoint.")
    of: str | None = Field(default=None, description="student or teacher.")
    parameters: int = Field(description="Of all networks together.")
    gflops: float = Field(description="An image, two operations a multiply-add.")
    images_per_second: float
    latency_p50_ms: float
    latency_p95_ms: float
    peak_memory_mib: float
    peak_memory_of: str = Field(description="tensors on the card, or the whole process.")
    size: Size = Field(description="(height, width) of the images.")
    batch: int
    precision: str
    compiled: bool
    repeats: int
    warm_up: int
    device: str
    machine: str
    threads: int
    torch: str
    commit: str | None = None
    time: str = Field(default="", description="When, in ISO 8601.")


@dataclass(frozen=True, slots=True)
class SpeedFile:
    """What a file holds.

    Args:
        records: of the lines that can be read, oldest first.
        problem: what is wrong with the others; "" where nothing is.
    """

    records: tuple[SpeedRecord, ...]
    problem: str = ""


def append_speed(path: Path, record: SpeedRecord) -> None:
    """Add a measurement to a file, which is made, with its folder, where it is missing.

    Raises:
        UserError: the disk is full or fails.
    """
    with disk_errors("the measurement", path, then="measure again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        before = read_bytes(path) if path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        write_whole(path, before + record.model_dump_json().encode() + b"\n")


def read_speeds(path: Path) -> SpeedFile:
    """Return the measurements of a file; none where it is missing."""
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return SpeedFile(())
    except OSError as error:
        return SpeedFile((), f"measurements must be readable, got {error} ({path}).")
    records: list[SpeedRecord] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(SpeedRecord.model_validate_json(line))
        except ValidationError:
            bad.append(number)
    if not bad:
        return SpeedFile(tuple(records))
    numbers = ", ".join(map(str, bad[:5])) + (" and others" if len(bad) > 5 else "")
    problem = (
        f"lines must be measurements of `uda4inst bench`, got others at {numbers} ({path}). "
        "Delete them, or the file, and measure again."
    )
    return SpeedFile(tuple(records), problem)
