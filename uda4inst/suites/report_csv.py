"""Every number of a suite in a line of its own, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from uda4inst.evaluation.found import MEASURES, SCORE
from uda4inst.run_folder.pseudo_labels import PARTS, STEPS
from uda4inst.suites.followed import followed_of, followed_runs
from uda4inst.suites.found import counted_runs, found_of
from uda4inst.suites.intervals import Interval
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import Network, ProtocolName, RowResult, Statistic, View

CSV_COLUMNS: Final[tuple[str, ...]] = (
    "suite",
    "scale",
    "benchmark",
    "row",
    "label",
    "network",
    "protocol",
    "metric",
    "class",
    "paper",
    "mean",
    "min",
    "max",
    "n",
    "state",
    "low",
    "high",
    "minus",
    "minus_network",
    "images",
    "images_there",
)


def csv_text(results: SuiteResults, views: Sequence[View]) -> str:
    """Return every number in a line of its own, all digits, per cent.

    But precision and recall are shares, 0 to 1, and detections for every object and pseudo-labels
    are counts.

    The network is the one that was judged: a row without a teacher has its student's numbers once.
    Differences name the row that is taken away in the column `minus`, whose network is
    `minus_network`; they and shares of the gap have the 95 % interval in `low` and `high`.
    `images` of `images_there` were judged; where a row's runs differ, all are listed.
    """
    out = io.StringIO()
    columns: Sequence[str] = CSV_COLUMNS
    writer: csv.DictWriter[str] = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    written: set[tuple[str, ...]] = set()
    for protocol, network in views:
        for index, row in enumerate(results.rows):
            whose = row.judged(network)
            own = (protocol, whose, row.key)
            others = {(*own, o.judged(network), o.key): o for o in results.rows[:index]}
            above = [other for key, other in others.items() if key not in written]
            is_new = own not in written
            written |= {own, *others}
            facts = _facts(results, row) | {
                "network": whose,
                "protocol": protocol,
                "images": _counts(run.basis.images for run in row.finished),
                "images_there": _counts(run.basis.there for run in row.finished),
            }
            lines = chain(
                _number_lines(results, row, protocol, network) if is_new else (),
                _difference_lines(results, row, protocol, network, above),
                _found_lines(row, protocol, network) if is_new else (),
            )
            writer.writerows(facts | line for line in lines)
    for row in results.rows:
        writer.writerows(_facts(results, row) | line for line in _followed(row))
    return out.getvalue()


def _facts(results: SuiteResults, row: RowResult) -> dict[str, Any]:
    return {
        "suite": results.suite.name,
        "scale": results.scale.name,
        "benchmark": row.row.benchmark,
        "row": row.key,
        "label": row.label,
        "state": row.state,
    }


def _followed(row: RowResult) -> Iterator[dict[str, Any]]:
    """Yield the teacher's pseudo-labels of training by class, a line a third."""
    for name, counts in followed_of(row).items():
        for part, count in enumerate(counts, start=1):
            yield {
                "metric": f"pseudo-labels in {STEPS} steps, third {part} of {PARTS}",
                "network": "teacher",
                "class": name,
                "mean": count,
                "n": followed_runs(row),
            }


def _counts(values: Iterator[int | None]) -> str:
    return " ".join(dict.fromkeys(str(value) for value in values if value is not None))


def _number_lines(
    results: SuiteResults, row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[dict[str, Any]]:
    """Yield what is written of every number of a row."""
    for metric, name, paper, found in _numbers(results, row, protocol, network):
        line: dict[str, Any] = {"metric": metric, "class": name, "paper": paper, "n": 0}
        if found is not None:
            low, high = found.spread
            line |= {"mean": found.mean, "min": low, "max": high, "n": found.n}
        if metric.endswith(" gap"):
            share = results.share_closed(row, network, protocol, metric.removesuffix(" gap"))
            line |= {"low": share.low, "high": share.high} if share else {}
        yield line


def _difference_lines(
    results: SuiteResults,
    row: RowResult,
    protocol: ProtocolName,
    network: Network,
    others: Sequence[RowResult],
) -> Iterator[dict[str, Any]]:
    """Yield what is written of how much a row is higher than others."""
    for metric, name, other, found in _differences(results, row, protocol, network, others):
        yield {
            "metric": f"{metric} difference",
            "class": name,
            "mean": found.value,
            "n": found.n,
            "low": found.low,
            "high": found.high,
            "minus": other.key,
            "minus_network": other.judged(network),
        }


def _found_lines(
    row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[dict[str, Any]]:
    """Yield what is written of what a row finds above one score."""
    if protocol == "cityscapes":
        for name, counts in found_of(row, network).items():
            for measure in MEASURES:
                yield {
                    "metric": f"{measure}, score above {SCORE}",
                    "class": name,
                    "mean": counts.value(measure),
                    "n": counted_runs(row, network),
                }


def _numbers(
    results: SuiteResults, row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[tuple[str, str, float | None, Statistic | None]]:
    """Yield (metric, class, paper, ours) for everything a row has a number for."""
    for metric in results.suite.task.measures:
        for name in (None, *row.row.classes):
            paper = row.paper.value(metric, name) if row.paper else None
            yield metric, name or "all", paper, row.statistic(network, protocol, metric, name)
        paper_gap = results.paper_gap_closed(row, metric)
        gap = results.gap_closed(row, network, protocol, metric)
        yield f"{metric} gap", "all", paper_gap, gap
    for name, classes in results.suite.task.class_sets.items():
        own = row.statistic(network, protocol, results.suite.task.measures[0], classes)
        yield name, "all", None, own


def _differences(
    results: SuiteResults,
    row: RowResult,
    protocol: ProtocolName,
    network: Network,
    others: Sequence[RowResult],
) -> Iterator[tuple[str, str, RowResult, Interval]]:
    """Yield (metric, class, other row, difference) for every other row."""
    for other in others:
        for metric in results.suite.task.measures:
            shared = [c for c in row.row.classes if c in other.row.classes]
            chosen = {"all": None, **{c: c for c in shared}}
            if results.suite.rare:
                chosen["+".join(results.suite.rare)] = results.suite.rare
            for name, classes in chosen.items():
                found = results.difference(row, other, network, protocol, metric, classes)
                if found is not None:
                    yield metric, name, other, found
