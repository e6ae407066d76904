"""How fast networks are, as the Results page lists it."""

from __future__ import annotations

from html import escape
from typing import Final

from uda4inst.run_folder.speeds import SpeedRecord
from workbench.stores.speeds import Measured, Speeds
from workbench.ui import markup

COMMAND: Final = "uda4inst bench RUN --size 512x1024"
_HEAD: Final = (
    "network", "images", "device", "images/s", "latency p50, p95", "memory", "parameters",
    "GFLOPs", "quality", "measured",
)  # fmt: skip
_HINT: Final = (
    "by uda4inst bench, the newest first; latency of a batch; GFLOPs an image, two a "
    "multiply-add. Compare rows of one machine, size and precision; quality over the same images"
)


def speed_table(speeds: Speeds) -> str:
    """Return all measurements as a table, and what could not be read; else how to measure."""
    problems = "".join(f'<p class="wb-warn">{escape(problem)}</p>' for problem in speeds.problems)
    head = markup.section("Speed", _HINT)
    if not speeds.rows:
        nothing = markup.empty(
            "No speed measured yet", f"Measure a run's network on this machine with: {COMMAND}"
        )
        return head + problems + nothing
    rows = [_row(one) for one in speeds.rows]
    return head + problems + markup.table(_HEAD, rows, kind="wb-speeds")


def _row(one: Measured) -> list[str]:
    record = one.record
    height, width = record.size
    mode = "compiled" if record.compiled else "eager"
    whose = "tensors" if record.peak_memory_of == "tensors" else "process"
    return [
        escape(record.network),
        f"{record.batch} x {height}x{width}, {escape(record.precision)}",
        f"{escape(record.device)}, {mode}",
        f"<b>{_number(record.images_per_second)}</b>",
        f"{_number(record.latency_p50_ms)}, {_number(record.latency_p95_ms)} ms",
        f"{record.peak_memory_mib:,.0f} MiB <small>{whose}</small>",
        f"{record.parameters / 1e6:.2f} M",
        _number(record.gflops),
        _quality(one),
        _measured_on(record),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _quality(one: Measured) -> str:
    if one.quality is None:
        return '<span class="wb-faint">not evaluated</span>'
    found = one.quality
    how = f" <small>({escape(found.how)})</small>"
    return f"{escape(found.measure)} {100 * found.value:.1f}{how}"


def _measured_on(record: SpeedRecord) -> str:
    """Return machine, code and date, and over how many batches."""
    parts = [
        record.time[:16].replace("T", " "),  # to the minute
        record.machine,
        f"{record.threads} threads, torch {record.torch}",
        f"commit {record.commit}" if record.commit else "",
        f"{record.repeats} batches after {record.warm_up}",
    ]
    return f"<small>{escape(' · '.join(part for part in parts if part))}</small>"
