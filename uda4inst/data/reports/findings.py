"""What a check of a tree finds, and the report that collects it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

Kind = Literal[
    "missing",
    "orphan",
    "unreadable",
    "size_mismatch",
    "unknown_id",
    "unnamed",
    "empty",
    "disagreement",
    "duplicate",
    "malformed",
]
Severity = Literal["error", "note"]
_ORDER: Final = {kind: place for place, kind in enumerate(get_args(Kind))}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a tree.

    Args:
        kind: what is wrong.
        path: the file it is wrong with, from the root; the root itself is ".".
        message: what was expected, and what was found.
        severity: "note" for what published data sets have too, such as images without any object.
    """

    kind: Kind
    path: str
    message: str
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything found in a tree.

    Args:
        name: the data set's name, for people.
        root: its folder.
        split: the splits that were checked, separated by ", ".
        images: how many images were looked at.
        findings: by kind, then by path.
    """

    name: str
    root: Path
    split: str
    images: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notes do not count."""
        return all(finding.severity == "note" for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each kind that occurs."""
        return dict(Counter(finding.kind for finding in self.findings))

    def to_text(self) -> str:
        """Return the report for people: a line on the whole, then every finding."""
        errors = sum(finding.severity == "error" for finding in self.findings)
        notes = len(self.findings) - errors
        lines = [
            f"{self.name} {self.split}: {_count(self.images, 'image')}, {_count(errors, 'error')}, "
            f"{_count(notes, 'note')} ({self.root})"
        ]
        last = ""
        for finding in self.findings:
            if finding.kind != last:
                lines.append(f"{finding.kind} ({self.counts()[finding.kind]})")
                last = finding.kind
            mark = " (a note)" if finding.severity == "note" else ""
            lines.append(f"  {finding.path}: {finding.message}{mark}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "name": self.name,
            "root": str(self.root),
            "split": self.split,
            "images": self.images,
            "ok": self.ok,
            "counts": self.counts(),
            "findings": [asdict(finding) for finding in self.findings],
        }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def in_report_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each finding once, by kind, then by path."""
    return tuple(
        sorted(set(findings), key=lambda found: (_ORDER[found.kind], found.path, found.message))
    )


def path_below(root: Path, path: Path) -> str:
    """Return a path as reports show it: from the root where it lies below it.

    A name that is no UTF-8 is shown with escapes; such text could not be printed.
    """
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return os.fsencode(shown).decode("utf-8", errors="backslashreplace")
