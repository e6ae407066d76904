from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from workbench.stores.groups import (
    check_name,
    group_text,
    groups_in,
    module_of,
    shown_name,
    split_name,
)


def test_split_name__undoes_module_of() -> None:
    name = module_of("demo", "car-truck")
    assert name == "demo/modules/car-truck"
    assert split_name(name) == ("demo", "car-truck")
    assert split_name("demo") == ("demo", None)


@pytest.mark.parametrize(
    "name",
    ["a/b", "a/modules/", "a/modules/../up", "a/modules/b/modules/c", "/modules/a", "../modules/a"],
)
def test_check_name__leads_nowhere_else(name: str) -> None:
    with pytest.raises(UserError, match=r"run\.name must be"):
        check_name(name)


def test_shown_name__as_a_person_writes_it() -> None:
    assert shown_name("demo") == "demo"
    assert shown_name("demo/modules/car-bus") == "demo (car, bus)"
    assert group_text("person-rider") == "person, rider"


def test_groups_in__one_network_has_none(write_run: Callable[..., Path]) -> None:
    assert groups_in(RunDir(write_run(steps=1)), {}) == []


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([["rider"], ["car"]], ["rider", "car"]),
        ([["car"], ["rider"]], ["car", "rider"]),
        ("two", ["car", "rider"]),
        (7, ["car", "rider"]),
        (None, ["car", "rider"]),
    ],
    ids=["list", "other-order", "other-groups", "damaged", "missing"],
)
def test_groups_in__in_the_order_they_train(
    tmp_path: Path, groups: Any, expected: list[str]
) -> None:
    for name in ("rider", "car"):
        (tmp_path / "modules" / name).mkdir(parents=True)
    assert groups_in(RunDir(tmp_path), {"method": {"groups": groups}}) == expected
