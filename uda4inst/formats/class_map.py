"""Class maps: which of the eight classes the names in somebody's labels stand for.

A YAML file with one mapping, `classes`: a name of the data set's on the left, on the right one of
the eight, or nothing, which makes its objects background. Names are compared without case, and "-"
and "_" are spaces. What a data set has and the file does not name is background too, and reported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import yaml

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.classes import THING_NAMES, thing_index
from uda4inst.errors import UserError
from uda4inst.reading import read_text
from uda4inst.yaml_dialect import MAX_YAML, YamlWriter, parse_yaml

_KEY: Final = "classes"
_SHOWN: Final = 5  # faults in a message


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Names of a data set -> classes of ours.

    Args:
        names: pairs of a name as `folded` gives it and one of the eight, None for none of them;
            sorted, each name once.
        path: the file they come from, for messages.
    """

    names: tuple[tuple[str, str | None], ...]
    path: str = ""

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any name's class does."""
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()[:12]

    def label_of(self, name: str) -> int | None:
        """Return the thing index of a name; None where it is mapped to nothing, or not at all."""
        ours = dict(self.names).get(folded(name))
        return None if ours is None else thing_index(ours)

    def has(self, name: str) -> bool:
        """Whether the map says anything of a name."""
        return folded(name) in dict(self.names)


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One line of a class map to be written.

    Args:
        name: as the data set has it.
        ours: one of the eight, None for nothing.
        remark: why, for the comment behind it.
    """

    name: str
    ours: str | None
    remark: str = ""


def folded(name: str) -> str:
    """Return a name as it is compared.

    Example:
        >>> folded("Motor-Bike ")
        'motor bike'
    """
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def read_class_map(path: Path) -> ClassMap:
    """Return the names in a file.

    Raises:
        UserError: it cannot be read, is no such file, names nothing, names something twice, or
            gives a class that is none of the eight; all faults in one message.
    """
    try:
        values = parse_yaml(read_text(path, limit=MAX_YAML))
    except (OSError, ValueError) as error:
        raise UserError(f"class map must be a readable YAML file, got {error} ({path}).") from error
    names = cast("dict[Any, Any]", values).get(_KEY) if isinstance(values, dict) else None
    if not isinstance(names, dict) or not names or len(cast("dict[Any, Any]", values)) > 1:
        raise UserError(
            f"class map must hold one mapping, {_KEY}, of at least one name, got another content "
            f"({path}). Write it as {_KEY}: {{pedestrian: person, dog: }}, a name a line or so."
        )
    return ClassMap(_checked(cast("dict[Any, Any]", names), path), str(path))


def _checked(names: Mapping[Any, Any], path: Path) -> tuple[tuple[str, str | None], ...]:
    """Return the pairs of a file, sorted; raise once for all that are wrong."""
    problems: list[str] = []
    found: dict[str, str | None] = {}
    for name, ours in names.items():
        if not isinstance(name, str) or not folded(name):
            problems.append(f"name must be text, got {name!r}: write it in quotes")
            continue
        if folded(name) in found:
            problems.append(f"name must be given once, got {name!r} again")
        found[folded(name)] = ours
        if ours is not None:
            try:
                thing_index(str(ours))
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if problems:
        shown = "\n".join(problems[:_SHOWN])
        raise UserError(
            f"class map must give names one of {', '.join(THING_NAMES)}, or nothing, got "
            f"{len(problems)} faults ({path}):\n{shown}"
        )
    return tuple(sorted(found.items()))


def write_class_map(path: Path, entries: Iterable[MapEntry], *, about: Iterable[str] = ()) -> None:
    """Write a class map for people to edit, an entry a line with its remark.

    Args:
        path: the file; one that is there is replaced.
        entries: names that differ when folded, in the order they are written.
        about: comment lines above.

    Raises:
        UserError: the file cannot be written.
    """
    lines = [*(f"# {line}" for line in about), f"{_KEY}:"]
    for entry in entries:
        remark = f"  # {entry.remark}" if entry.remark else ""
        lines.append(f"  {_quoted(entry.name)}: {entry.ours or ''}".rstrip() + remark)
    with disk_errors("class map", path, then="call again, or choose another file"):
        write_whole(path, "".join(f"{line}\n" for line in lines))


def _quoted(name: str) -> str:
    """Return a name as a YAML key on one line, in quotes where it needs them."""
    written = partial(yaml.dump, Dumper=YamlWriter, allow_unicode=True, width=2**31)
    key = written({name: None}).rpartition(":")[0]
    if "\n" not in key and not key.startswith("?"):
        return key
    return written(name, default_style='"').strip()
