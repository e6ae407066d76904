"""What `make test-lowest` installs is what pyproject.toml promises."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]


def pinned(file: str) -> dict[str, Version]:
    """Return the versions of a file of `name==version` lines."""
    lines = (ROOT / file).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("requirement", CORE, ids=lambda requirement: requirement.name)
def test_floor__is_what_the_lowest_set_holds(requirement: Requirement) -> None:
    (floor,) = (s.version for s in requirement.specifier if s.operator == ">=")
    name = canonicalize_name(requirement.name)
    assert Version(floor) == pinned("constraints-lowest.txt")[name]


@pytest.mark.parametrize("requirement", CORE, ids=lambda requirement: requirement.name)
def test_pin__is_within_what_is_promised(requirement: Requirement) -> None:
    version = (pinned("constraints.txt") | pinned("constraints-torch.txt"))[
        canonicalize_name(requirement.name)
    ]
    assert requirement.specifier.contains(version)
