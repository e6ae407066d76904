"""Tables of evaluation results, as text and as Markdown; the protocol is in every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from uda4inst.classes import THING_NAMES

MISSING: Final = "-"
COLUMNS: Final = ("run", "step", "network", "protocol", "AP", "AP50", *THING_NAMES)
_TEXT_COLUMNS: Final = 4  # the first, aligned left
PROTOCOL_NAMES: Final = {
    "cityscapes": "Cityscapes",
    "coco": "COCO",
    "pixels": "Cityscapes pixel",
    "thing_pixels": "thing pixel",
}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One network by one protocol; numbers in [0, 1], None for classes without ground truth.

    Args:
        run: name of the run or of the predictions.
        step: optimizer updates, None for predictions made elsewhere.
        network: student, teacher, or predictions.
        protocol: key of the result, such as cityscapes.
        ap: over all classes.
        ap50: over all classes.
        per_class: AP by class name.
        source: where the number comes from: data set, split, number of images, config hash.
    """

    run: str
    step: int | None
    network: str
    protocol: str
    ap: float | None
    ap50: float | None
    per_class: Mapping[str, float | None]
    source: str


def rows_of(run: str, record: Mapping[str, Any]) -> list[ResultRow]:
    """Return the rows of one evaluation: of a run's file, or of `evaluate_predictions`.

    Args:
        run: name to show.
        record: as read from `evaluation/<step>.json`, or as `evaluate_predictions` returns it.
    """
    if "results" in record:
        networks, where = record["results"], record.get("dataset", MISSING)
    else:
        protocols = {k: v for k, v in record.items() if isinstance(v, Mapping) and "AP" in v}
        networks, where = {"predictions": protocols}, record.get("target", MISSING)
    parts = [f"{where} {record.get('split', '')}".strip(), f"{record.get('images', '?')} images"]
    if "config_hash" in record:
        parts.append(f"config {record['config_hash']}")
    return [
        ResultRow(
            run=run,
            step=record.get("step"),
            network=network,
            protocol=protocol,
            ap=result["AP"],
            ap50=result["AP50"],
            per_class={
                name: None if (value := result["per_class"].get(name)) is None else value["AP"]
                for name in THING_NAMES
            },
            source=", ".join(parts),
        )
        for network, results in networks.items()
        for protocol, result in results.items()
    ]


def text_table(rows: Sequence[ResultRow]) -> str:
    """Return the rows as an aligned text table, in per cent, sources below."""
    cells = [list(COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < _TEXT_COLUMNS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *_footer(rows)]) + "\n"


def markdown_table(rows: Sequence[ResultRow]) -> str:
    """Return the rows as a Markdown table, in per cent, sources below."""
    rule = [":--" if i < _TEXT_COLUMNS else "--:" for i in range(len(COLUMNS))]
    cells = [list(COLUMNS), rule, *(_cells(row) for row in rows)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in cells]
    return "\n".join([*lines, "", *_footer(rows)]) + "\n"


def per_cent(value: float | None) -> str:
    """Return a number of [0, 1] in per cent with one digit, "-" for None."""
    return MISSING if value is None else f"{100 * value:.1f}"


def _cells(row: ResultRow) -> list[str]:
    """Return one table line."""
    return [
        row.run,
        MISSING if row.step is None else str(row.step),
        row.network,
        PROTOCOL_NAMES.get(row.protocol, row.protocol),
        per_cent(row.ap),
        per_cent(row.ap50),
        *(per_cent(row.per_class[name]) for name in THING_NAMES),
    ]


def _footer(rows: Sequence[ResultRow]) -> list[str]:
    """Return what the numbers are, and where each comes from."""
    sources: dict[str, None] = dict.fromkeys(f"{row.run}: {row.source}" for row in rows)
    return [
        f"Mask AP at IoU .50:.95 in per cent, classes too; {MISSING} marks classes without "
        "ground truth.",
        *sources,
    ]
