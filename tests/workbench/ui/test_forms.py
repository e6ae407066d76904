from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from uda4inst.errors import UserError
from workbench.ui.forms import field_specs, from_widget, overrides, to_widget, value_at


class Inner(BaseModel):
    share: float = Field(0.5, description="A share.")
    names: tuple[Literal["car", "bus"], ...] = ("car",)


class Model(BaseModel):
    seed: int = 0
    kind: Literal["a", "b"] = "a"
    flip: bool = True
    weights: str | None = None
    crop: tuple[int, int] = (128, 256)
    maybe: Literal["x"] | None = None
    part: Inner = Field(default_factory=Inner)


SPECS = {spec.key: spec for spec in field_specs(Model.model_json_schema())}
BASE = Model().model_dump(mode="json")


def form(**changes: Any) -> list[Any]:
    values = {key: to_widget(spec, value_at(BASE, key)) for key, spec in SPECS.items()}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return list(values.values())


def test_field_specs__every_setting_in_order() -> None:
    kinds = {key: spec.kind for key, spec in SPECS.items()}
    assert kinds == {
        "seed": "whole",
        "kind": "choice",
        "flip": "switch",
        "weights": "text",
        "crop": "yaml",
        "maybe": "choice",
        "part.share": "number",
        "part.names": "choices",
    }


def test_field_specs__descriptions_choices_and_null() -> None:
    assert SPECS["part.share"].description == "A share."
    assert SPECS["part.names"].choices == ("car", "bus")
    assert SPECS["kind"].choices == ("a", "b")
    assert SPECS["maybe"].choices == ("", "x")
    assert [key for key, spec in SPECS.items() if spec.nullable] == ["weights", "maybe"]


def test_field_specs__label_and_section() -> None:
    assert (SPECS["seed"].section, SPECS["seed"].label) == ("general", "Seed")
    assert (SPECS["part.share"].section, SPECS["part.share"].label) == ("part", "Share")


def test_overrides__untouched_form_changes_nothing() -> None:
    assert overrides(list(SPECS.values()), BASE, form()) == []


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("seed", 3, "seed=3"),
        ("seed", 2.5, "seed=2.5"),
        ("kind", "b", "kind=b"),
        ("flip", False, "flip=false"),
        ("weights", "toystreets", "weights=toystreets"),
        ("weights", "true", "weights='true'"),
        ("crop", "[64, 64]", "crop=[64, 64]"),
        ("crop", "", "crop=null"),
        ("maybe", "x", "maybe=x"),
        ("part__share", 1e-5, "part.share=1.0e-05"),
        ("part__names", ["bus", "car"], "part.names=[bus, car]"),
        ("part__names", [], "part.names=[]"),
    ],
)
def test_overrides__what_changed_as_yaml(key: str, value: Any, text: str) -> None:
    assert overrides(list(SPECS.values()), BASE, form(**{key: value})) == [text]


def test_overrides__all_that_is_unreadable_is_named() -> None:
    with pytest.raises(UserError, match=r"seed must have a value.*crop must be a list"):
        overrides(list(SPECS.values()), BASE, form(seed=None, crop="[1, "))


@pytest.mark.parametrize("key", ["weights", "maybe"])
def test_from_widget__empty_is_null_where_allowed(key: str) -> None:
    assert from_widget(SPECS[key], "") is None
    assert to_widget(SPECS[key], None) == ""
