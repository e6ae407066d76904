from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError, model_validator

from uda4inst.settings import Settings


class Inner(Settings):
    count: int = Field(1, ge=0)


class Outer(Settings):
    whole: int = Field(0, ge=0, le=2**40)
    number: float | None = Field(0.5, gt=0)
    switch: bool = True
    text: str = Field("a", min_length=1)
    pair: tuple[Annotated[int, Field(ge=1)], float] = (1, 2.0)
    names: tuple[str, ...] = ()
    by_name: dict[str, int] = Field(default_factory=dict)
    inner: Inner = Field(default=Inner(count=1))

    @model_validator(mode="before")
    @classmethod
    def _unchanged(cls, values: object) -> object:
        return values


@pytest.mark.parametrize(
    "values",
    [
        {"whole": True},
        {"whole": "3"},
        {"whole": 3.5},
        {"whole": 10**30},
        {"whole": None},
        {"number": True},
        {"number": "0.5"},
        {"number": float("nan")},
        {"switch": 1},
        {"switch": "yes"},
        {"text": 3},
        {"text": b"a"},
        {"text": "a\0b"},
        {"text": "\ud800"},
        {"pair": [True, 1.0]},
        {"pair": [1, "1"]},
        {"names": [1]},
        {"names": ["a\0"]},
        {"by_name": {"a": True}},
        {"inner": {"count": True}},
        {"inner": {"count": 2**63}},
    ],
    ids=str,
)
def test_settings__take_no_value_for_one_of_another_kind(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    assert len({fault["loc"][0] for fault in caught.value.errors()}) == 1


def test_settings__take_what_says_the_same() -> None:
    values = {"whole": 1e4, "number": 1, "pair": [2, 3], "names": ["a"], "inner": {"count": 2.0}}
    found = Outer.model_validate(values)
    assert (found.whole, found.number, found.pair, found.names) == (10_000, 1.0, (2, 3.0), ("a",))
    assert type(found.inner.count) is int


def test_settings__describe_themselves_as_ever() -> None:
    schema = Outer.model_json_schema()["properties"]
    assert schema["whole"] == {
        "default": 0,
        "maximum": 2**40,
        "minimum": 0,
        "title": "Whole",
        "type": "integer",
    }
    assert schema["number"]["anyOf"] == [
        {"exclusiveMinimum": 0, "type": "number"},
        {"type": "null"},
    ]
