"""How large the runs of a suite are: read from `scales.yaml`, which is the place to tune them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import yaml

from uda4inst.errors import UserError

_FILE: Final = resources.files("uda4inst") / "suites" / "scales.yaml"


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale.

    Args:
        name: smoke, toy or paper.
        text: what its numbers are worth.
        presets: configuration by benchmark; rows of other benchmarks are not run.
        settings: values by dotted name, for every run.
        suites: more of them by suite, over those of the rows.
        make_data: the command that makes its data; empty where they must be fetched.
    """

    name: str
    text: str
    presets: Mapping[str, str]
    settings: Mapping[str, Any]
    suites: Mapping[str, Mapping[str, Any]]
    make_data: str = ""


def load_scales() -> dict[str, Scale]:
    """Return the scales by name."""
    values = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: Scale(name, **fields) for name, fields in values.items()}


def find_scale(name: str) -> Scale:
    """Return a scale by its name.

    Raises:
        UserError: there is none of that name.
    """
    scales = load_scales()
    if name not in scales:
        raise UserError(f"--scale must be one of {', '.join(scales)}, got {name!r}.")
    return scales[name]
