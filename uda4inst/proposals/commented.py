"""A configuration as YAML in which every value says why it is there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import yaml

from uda4inst.yaml_dialect import YamlWriter

_WIDTH: Final = 100  # columns


@dataclass(frozen=True, slots=True)
class Because:
    """A value, and why it is proposed.

    Args:
        value: of a setting: a number, text, switch or list.
        why: a sentence or two.
    """

    value: Any
    why: str


Values = Mapping[str, "Because | Values"]


def plain(values: Values) -> dict[str, Any]:
    """Return the values without their reasons."""
    return {k: v.value if isinstance(v, Because) else plain(v) for k, v in values.items()}


def to_commented_yaml(values: Values, *, about: Iterable[str] = ()) -> str:
    """Return YAML that reads back as `plain` of the values, each below its reason.

    Args:
        values: nested as a configuration is.
        about: paragraphs above all of them.
    """
    lines = [line for paragraph in about for line in _comment(paragraph, "")]
    return "\n".join([*lines, *_lines(values, "")]) + "\n"


def _lines(values: Values, indent: str) -> Iterable[str]:
    for name, value in values.items():
        if isinstance(value, Because):
            yield from _comment(value.why, indent)
            yield f"{indent}{_flow({name: value.value})}"
        else:
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")


def _comment(text: str, indent: str) -> list[str]:
    """Return a reason as comment lines; what it quotes can break none of them."""
    whole = " ".join(text.split())
    return textwrap.wrap(
        whole, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _flow(entry: Mapping[str, Any]) -> str:
    """Return one setting on one line."""
    written = partial(
        yaml.dump, Dumper=YamlWriter, default_flow_style=True, allow_unicode=True, width=2**31
    )
    line = written(entry).strip().removeprefix("{").removesuffix("}")
    if "\n" not in line:
        return line
    ((name, value),) = entry.items()
    quoted = written(value, default_style='"').strip()
    return f"{name}: {quoted}"
