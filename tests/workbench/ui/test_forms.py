from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.training.config import Config
from workbench.ui.forms import (
    Condition,
    field_specs,
    form_values,
    from_widget,
    overrides,
    shown,
    to_widget,
)


class Inner(BaseModel):
    share: float = Field(default=0.5, description="A share.")
    names: tuple[Literal["car", "bus"], ...] = ("car",)


class Model(BaseModel):
    seed: int = 0
    kind: Literal["a", "b"] = "a"
    flip: bool = True
    weights: str | None = None
    crop: tuple[int, int] = (128, 256)
    maybe: Literal["x"] | None = None
    part: Inner = Field(default_factory=lambda: Inner())


SPECS = {spec.key: spec for spec in field_specs(Model.model_json_schema())}
BASE = Model().model_dump(mode="json")


def form(**changes: object) -> dict[str, object]:
    values = form_values(list(SPECS.values()), BASE)
    return values | {key.replace("__", "."): value for key, value in changes.items()}


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
def test_overrides__what_changed_as_yaml(key: str, value: object, text: str) -> None:
    assert overrides(list(SPECS.values()), BASE, form(**{key: value})) == [text]


def test_overrides__all_that_is_unreadable_is_named() -> None:
    with pytest.raises(UserError, match=r"seed must have a value.*crop must be a list"):
        overrides(list(SPECS.values()), BASE, form(seed=None, crop="[1, "))


@pytest.mark.parametrize("key", ["weights", "maybe"])
def test_from_widget__empty_is_null_where_allowed(key: str) -> None:
    assert from_widget(SPECS[key], "") is None
    assert to_widget(SPECS[key], None) == ""


class Alpha(BaseModel):
    """Has much to set, some of it as its neighbour has, some of it otherwise."""

    name: Literal["alpha"] = Field(default="alpha", description="What is done.")
    rate: float = Field(default=0.9, description="A rate.")
    groups: str = Field(default="two", description="How many.")
    part: Inner = Field(default_factory=lambda: Inner(share=0.25))
    needed: int = Field(description="Has no default.")


class Beta(BaseModel):
    name: Literal["beta"] = Field(default="beta", description="What is done.")
    rate: float = Field(default=0.5, description="A rate.")
    groups: str = Field(default="two", description="How many.")


class Gamma(BaseModel):
    """Comes later, and has a choice of its own."""

    class Left(BaseModel):
        side: Literal["left"] = "left"
        depth: int = 1

    class Right(BaseModel):
        side: Literal["right"] = "right"
        depth: int = 2
        width: int | None = None

    name: Literal["gamma"] = "gamma"
    hand: Annotated[Left | Right, Field(discriminator="side")] = Field(
        default_factory=lambda: Gamma.Left()
    )


class Several(BaseModel):
    seed: int = 0
    method: Annotated[Alpha | Beta | Gamma, Field(discriminator="name")] = Field(
        default_factory=lambda: Alpha(needed=3)
    )
    last: bool = True


VARIANTS = field_specs(Several.model_json_schema())
ON_ALPHA = Several(method=Alpha(needed=3, rate=0.8, groups="four")).model_dump(mode="json")


def applied(values: dict[str, object]) -> list[str]:
    return [spec.name for spec in shown(VARIANTS, values)]


def test_field_specs__variants_in_order_after_what_chooses_one() -> None:
    found = {spec.name: spec.when for spec in VARIANTS}

    def of(*names: str) -> tuple[Condition, ...]:
        return (Condition("method.name", names),)

    right = (Condition("method.hand.side", ("right",)),)
    assert found == {
        "seed": (),
        "method.name": (),
        "method.rate": of("alpha"),
        "method.groups": of("alpha", "beta"),
        "method.part.share": of("alpha"),
        "method.part.names": of("alpha"),
        "method.needed": of("alpha"),
        "method.rate@beta": of("beta"),
        "method.hand.side": of("gamma"),
        "method.hand.depth": (*of("gamma"), Condition("method.hand.side", ("left",))),
        "method.hand.depth@gamma.right": (*of("gamma"), *right),
        "method.hand.width": (*of("gamma"), *right),
        "last": (),
    }


def test_field_specs__what_chooses_a_variant_is_a_choice_of_all() -> None:
    chooser = next(spec for spec in VARIANTS if spec.key == "method.name")
    assert (chooser.kind, chooser.choices) == ("choice", ("alpha", "beta", "gamma"))
    assert chooser.description == "What is done."
    assert chooser.label == "Name"


def test_shown__settings_of_the_chosen_variant_alone() -> None:
    values = form_values(VARIANTS, ON_ALPHA)
    common = ["seed", "method.name"]
    assert applied(values)[2:-1] == [
        "method.rate",
        "method.groups",
        "method.part.share",
        "method.part.names",
        "method.needed",
    ]
    beta = values | {"method.name": "beta"}
    assert applied(beta) == [*common, "method.groups", "method.rate@beta", "last"]
    left = values | {"method.name": "gamma", "method.hand.side": "left"}
    assert applied(left) == [*common, "method.hand.side", "method.hand.depth", "last"]
    right = left | {"method.hand.side": "right"}
    assert applied(right)[3:5] == ["method.hand.depth@gamma.right", "method.hand.width"]


def test_form_values__other_variants_are_at_their_defaults() -> None:
    values = form_values(VARIANTS, ON_ALPHA)
    assert (values["method.rate"], values["method.rate@beta"]) == (0.8, 0.5)
    assert values["method.groups"] == "four"
    assert values["method.hand.depth@gamma.right"] == 2
    on_beta = form_values(VARIANTS, Several(method=Beta()).model_dump(mode="json"))
    assert (on_beta["method.rate"], on_beta["method.rate@beta"]) == (0.9, 0.5)
    assert on_beta["method.needed"] is None


def test_overrides__untouched_variants_change_nothing() -> None:
    values = form_values(VARIANTS, ON_ALPHA)
    assert overrides(VARIANTS, ON_ALPHA, values) == []
    assert overrides(VARIANTS, ON_ALPHA, values | {"method.rate": 0.7}) == ["method.rate=0.7"]


def test_overrides__hidden_settings_are_not_sent() -> None:
    values = form_values(VARIANTS, ON_ALPHA)
    hidden = {"method.rate@beta": 0.1, "method.hand.depth": 9, "method.hand.side": "right"}
    assert overrides(VARIANTS, ON_ALPHA, values | hidden) == []
    on_beta = {"method.name": "beta", "method.rate": 0.123, "method.needed": None}
    assert "0.123" not in " ".join(overrides(VARIANTS, ON_ALPHA, values | on_beta))


def test_overrides__of_another_variant_say_all_that_is_on_screen() -> None:
    values = form_values(VARIANTS, ON_ALPHA) | {"method.name": "beta"}
    # The rate is beta's default and not the base's, the groups the base's and not the default.
    assert overrides(VARIANTS, ON_ALPHA, values) == [
        "method.name=beta",
        "method.groups=four",
        "method.rate=0.5",
    ]
    values |= {"method.name": "gamma", "method.hand.side": "right"}
    assert overrides(VARIANTS, ON_ALPHA, values) == [
        "method.name=gamma",
        "method.hand.side=right",
    ]
    values["method.hand.depth@gamma.right"] = 5
    assert overrides(VARIANTS, ON_ALPHA, values)[-1] == "method.hand.depth=5"


def test_overrides__a_variant_without_a_default_asks_for_the_value() -> None:
    on_beta = Several(method=Beta()).model_dump(mode="json")
    values = form_values(VARIANTS, on_beta) | {"method.name": "alpha"}
    with pytest.raises(UserError, match=r"method\.needed must have a value"):
        overrides(VARIANTS, on_beta, values)
    values["method.needed"] = 4
    assert overrides(VARIANTS, on_beta, values)[-1] == "method.needed=4"


def test_field_specs__default_of_a_whole_part_goes_before_its_settings() -> None:
    class Given(BaseModel):
        part: Inner = Inner(share=0.75)

    (share, _) = field_specs(Given.model_json_schema())
    assert (share.key, share.default) == ("part.share", 0.75)


def test_field_specs__one_variant_is_an_ordinary_part() -> None:
    class Only(BaseModel):
        method: Beta = Field(default_factory=lambda: Beta())

    found = {spec.name: spec.when for spec in field_specs(Only.model_json_schema())}
    assert found == {"method.name": (), "method.rate": (), "method.groups": ()}


def test_field_specs__leaves_out_what_is_filled_in_by_itself() -> None:
    keys = [spec.key for spec in field_specs(Config.model_json_schema())]
    assert "data.source.only" in keys
    assert not [key for key in keys if key.endswith("only_hash")]


def test_field_specs__rare_classes_are_offered_and_others_may_be_written() -> None:
    known = {spec.key: spec for spec in field_specs(Config.model_json_schema())}
    for key in ("method.pool.rare_classes", "method.classes"):
        assert (known[key].kind, known[key].choices) == ("open choices", THING_NAMES)
        chosen = from_widget(known[key], ["car", "traffic sign"])
        assert to_widget(known[key], chosen) == ["car", "traffic sign"]
