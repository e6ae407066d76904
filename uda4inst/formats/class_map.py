"""Class maps: which classes of ours the names in somebody's labels stand for.

A YAML file with a mapping, `classes`: a name of the data set's on the left, on the right one of the
eight, or nothing, which makes its objects background. Names are compared without case, and "-" and
"_" are spaces. What a data set has and the file does not name is background too, and reported. A
list before it, `own`, names classes that are none of the eight and may stand on the right as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import yaml

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.errors import UserError
from uda4inst.reading import read_text
from uda4inst.yaml_dialect import MAX_YAML, YamlWriter, parse_yaml

_KEY: Final = "classes"
_OWN: Final = "own"
_SHOWN: Final = 5  # faults in a message


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Names of a data set -> classes of ours.

    Args:
        names: pairs of a name as `folded` gives it and one of `things`, None for none of them;
            sorted, each name once.
        path: the file they come from, for messages.
        things: the eight, and the classes of its own that the file names.
    """

    names: tuple[tuple[str, str | None], ...]
    path: str = ""
    things: ThingClasses = EIGHT

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any name's class does."""
        facts = (self.names, self.things.own) if self.things.own else self.names
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    def label_of(self, name: str) -> int | None:
        """Return the thing index of a name; None where it is mapped to nothing, or not at all."""
        ours = dict(self.names).get(folded(name))
        return None if ours is None else self.things.index(ours)

    def has(self, name: str) -> bool:
        """Whether the map says anything of a name."""
        return folded(name) in dict(self.names)


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One line of a class map to be written.

    Args:
        name: as the data set has it.
        ours: the class of ours, None for nothing.
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
            gives a class that there is not; all faults in one message.
    """
    try:
        values = parse_yaml(read_text(path, limit=MAX_YAML))
    except (OSError, ValueError) as error:
        raise UserError(f"class map must be a readable YAML file, got {error} ({path}).") from error
    given = cast("dict[Any, Any]", values) if isinstance(values, dict) else {}
    names = given.get(_KEY)
    if not isinstance(names, dict) or not names or given.keys() - {_KEY, _OWN}:
        raise UserError(
            f"class map must hold one mapping, {_KEY}, of at least one name, and may hold a list, "
            f"{_OWN}, got another content ({path}). Write it as {_KEY}: {{pedestrian: person, "
            "dog: }, a name a line or so."
        )
    things = _own_classes(given.get(_OWN), path)
    return ClassMap(_checked(cast("dict[Any, Any]", names), things, path), str(path), things)


def _own_classes(names: object, path: Path) -> ThingClasses:
    """Return the classes of a file."""
    if names is None:
        return EIGHT
    listed = cast("list[object]", names) if isinstance(names, list) else [names]
    try:
        return ThingClasses(tuple(str(name) for name in listed))
    except ValueError as error:
        raise UserError(f"class map: {error} ({_OWN}, {path}).") from error


def _checked(
    names: Mapping[Any, Any], things: ThingClasses, path: Path
) -> tuple[tuple[str, str | None], ...]:
    """Return the pairs of a file, sorted; raise once for all that are wrong."""
    problems: list[str] = []
    found: dict[str, str | None] = {}
    for name, ours in names.items():
        if not isinstance(name, str) or not folded(name):
            problems.append(f"name must be text, got {name!r}: write it in quotes")
            continue
        if folded(name) in found:
            problems.append(f"name must be given once, got {name!r} again")
        found[folded(name)] = None if ours is None else str(ours)
        if ours is not None:
            try:
                things.index(str(ours))
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if problems:
        shown = "\n".join(problems[:_SHOWN])
        raise UserError(
            f"class map must give names one of {', '.join(things.names)}, or nothing, got "
            f"{len(problems)} faults ({path}):\n{shown}"
        )
    return tuple(sorted(found.items()))


def write_class_map(
    path: Path,
    entries: Iterable[MapEntry],
    *,
    about: Iterable[str] = (),
    own: Sequence[str] = (),
) -> None:
    """Write a class map for people to edit, an entry a line with its remark.

    Args:
        path: the file; one that is there is replaced.
        entries: names that differ when folded, in the order they are written.
        about: comment lines above.
        own: classes beside the eight that the entries may give.

    Raises:
        UserError: the file cannot be written.
    """
    lines = [f"# {line}" for line in about]
    if own:
        lines.append(f"{_OWN}: [{', '.join(own)}]")
    lines.append(f"{_KEY}:")
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
