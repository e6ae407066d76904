"""Checking a whole tree: every fault in one report, nothing repaired, nothing raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from uda4inst.data.parallel import in_order
from uda4inst.data.readers import format_class
from uda4inst.data.reports.check_files import image_checks, list_split, open_splits, splits_of
from uda4inst.data.reports.check_splits import find_duplicates
from uda4inst.data.reports.findings import CheckReport, Finding, Kind, Severity, in_report_order
from uda4inst.data.tree import DatasetOptions

__all__ = ["CheckReport", "Finding", "Kind", "Severity", "check_tree"]


def check_tree(
    format_name: str,
    root: Path,
    *,
    split: str | None = None,
    options: DatasetOptions | None = None,
    with_labels: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look at every file of a tree and return all that is wrong with it.

    Args:
        format_name: a key of `DATASETS`.
        root: the data set's folder.
        split: which part of it; None checks every split that is there.
        options: how the format is read.
        with_labels: False looks at images alone, which is all that training asks of a target.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (images done, images in all).

    Raises:
        UserError: no data set has the name; faults of the tree are findings.
    """
    kind = format_class(format_name)
    opened = open_splits(kind, root, options, asked_for=split)
    present = splits_of(kind, opened)
    wanted = (split,) if split is not None else tuple(present) or (kind.default_split,)
    listings = [
        list_split(
            kind,
            root,
            name,
            opened[name],
            options,
            with_labels=with_labels,
            is_asked_for=split is not None,
        )
        for name in wanted
    ]
    findings = [found for listing in listings for found in listing.findings]
    checks = image_checks(listings)

    def show(done: int) -> None:
        if progress is not None:
            progress(done, len(checks))

    for found in in_order(checks, len(checks), workers=workers, progress=show):
        findings += found
    trees = present | {
        name: listing.images
        for name, listing in zip(wanted, listings, strict=True)
        if listing.images is not None
    }
    findings += find_duplicates(trees, wanted, root=root)
    return CheckReport(
        name=kind.name,
        root=root,
        split=", ".join(wanted),
        images=len(checks),
        findings=in_report_order(findings),
    )
