"""Reading JSON piece by piece: the same values as reading it whole, at the places they stand."""

from __future__ import annotations

import json

import pytest

from uda4inst.data.readers.json_walk import JsonWalk

TEXT = """ {"a" : [1, {"b": "]"}], "": {} ,\n"list": [ [2],"x" , null ],"n":-1e3}\r\n"""


def test_members__values_are_those_of_the_whole() -> None:
    walk = JsonWalk(TEXT)
    assert {key: walk.value() for key in walk.members()} == json.loads(TEXT)


def test_items__stand_where_they_say() -> None:
    walk = JsonWalk(TEXT)
    found: list[str] = []
    for key in walk.members():
        if key != "list":
            walk.value()
            continue
        for start in walk.items():
            walk.value()
            found.append(TEXT[start : walk.at])
    assert found == ["[2]", '"x"', "null"]


@pytest.mark.parametrize("text", ["{}", '{"a": []}', "{ }"])
def test_items__none(text: str) -> None:
    walk = JsonWalk(text)
    assert [list(walk.items()) for _ in walk.members()] in ([], [[]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting '{'"),
        ("{", "Expecting value"),
        ('{"a"', "Expecting a key"),
        ("{1: 2}", "Expecting a key"),
        ('{"a": 1 "b": 2}', "Expecting ','"),
        ('{"a": 1,}', "Expecting value"),
        ("{} {}", "Extra data"),
    ],
)
def test_members__no_json(text: str, message: str) -> None:
    walk = JsonWalk(text)
    with pytest.raises(json.JSONDecodeError, match=message):
        _ = [walk.value() for _ in walk.members()]
