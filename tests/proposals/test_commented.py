"""Configurations with their reasons: they read back as the values, whatever is in either."""

from __future__ import annotations

import pytest

from uda4inst.proposals.commented import Because, plain, to_commented_yaml
from uda4inst.yaml_dialect import parse_yaml

VALUES = {
    "run": {"name": Because("own", "It is new.")},
    "data": {
        "source": {"root": Because("a: b, {c} # d", "As given."), "only": Because(None, "All.")},
        "crop": Because([64, 128], "word " * 40),
        "flip": Because(True, "Half."),
    },
    "optim": {"lr": Because(2e-4, "Small."), "text": Because("1e-4", "A text.")},
}


def test_to_commented_yaml__reads_back_as_the_values() -> None:
    text = to_commented_yaml(VALUES, about=["One.", "Two."])
    assert parse_yaml(text) == plain(VALUES)
    assert plain(VALUES)["data"]["crop"] == [64, 128]


def test_to_commented_yaml__every_value_stands_below_its_reason() -> None:
    lines = to_commented_yaml(VALUES, about=["One.", "Two."]).splitlines()
    assert lines[:5] == ["# One.", "# Two.", "run:", "  # It is new.", "  name: own"]
    assert "  # Half." in lines
    assert lines[lines.index("  # Half.") + 1] == "  flip: true"
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("text", ["two\nlines", "\n", "a\u2028b", "tab\t", '"', "é", "- a: b"])
def test_to_commented_yaml__no_text_breaks_out_of_its_line(text: str) -> None:
    values = {"a": {"root": Because(text, text), "split": Because("train", "Its own.")}}
    assert parse_yaml(to_commented_yaml(values, about=[text])) == plain(values)
