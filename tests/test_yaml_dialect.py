from __future__ import annotations

import math
import time

import pytest
import yaml

from uda4inst.yaml_dialect import MAX_VALUES, MAX_YAML, YamlWriter, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("010", "010"),
        ("09", "09"),
        ("2026-11-26", "2026-11-26"),
        ("2026-13-45", "2026-13-45"),
        ("1:30.5", "1:30.5"),
        ("1e-4", 0.0001),
        ("1.5e3", 1500.0),
        ("-0.5", -0.5),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0", 0),
        (".5", 0.5),
        (".inf", math.inf),
        ("yes", True),
        ("", None),
    ],
)
def test_parse_yaml__takes_numbers_as_people_mean_them(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2", "the key 'seed' twice .* line 2"),
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' twice"),
        ("a: !!int x", "does not fit its tag"),
        ("a: !!int ''", "does not fit its tag"),
        ("a: !!bool x", "does not fit its tag"),
        ("a: !!float x", "does not fit its tag"),
        ("a: !!timestamp x", "does not fit its tag"),
        ("a: !!timestamp 2026-13-45", "does not fit its tag"),
        ("a: !!omap [1]", "expected a mapping"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (f"a: {'1' * 5000}", "does not fit its tag"),
        ("[" * 5000, "deep in others"),
        ("- " * 5000, "deep in others"),
        ("a: &a [*a]", "a value that is in itself"),
        ("a: &a {b: *a}", "a value that is in itself"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: 1\n---\na: 2", "a single document"),
        ("a: \0", "special characters"),
        ("a: \ud800", "special characters"),
        ("x" * (MAX_YAML + 1), "characters, more than"),
        (f"[{'1,' * (MAX_VALUES + 1)}]", "found more than 50,000 values"),
    ],
)
def test_parse_yaml__has_one_message_for_what_it_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


def test_parse_yaml__an_anchor_bomb_is_refused_at_once() -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    started = time.monotonic()
    with pytest.raises(ValueError, match="more than 50,000 values"):
        parse_yaml("\n".join(lines))
    assert time.monotonic() - started < 5


def test_parse_yaml__merges_that_multiply_are_refused() -> None:
    lines = ["m0: &m0 {k: 1}"]
    lines += [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    with pytest.raises(ValueError, match="more than 50,000 values"):
        parse_yaml("\n".join(lines))


def test_parse_yaml__a_chain_of_aliases_is_as_deep_as_what_it_names() -> None:
    lines = ["- &a0 [x]", *(f"- &a{i} [*a{i - 1}]" for i in range(1, 2000))]
    with pytest.raises(ValueError, match="64 deep"):
        parse_yaml("\n".join(lines))


def test_parse_yaml__aliases_and_merges_that_people_write_are_read() -> None:
    text = "base: &b {lr: 1, seed: 2}\nmine: {<<: *b, seed: 3}\nagain: *b"
    assert parse_yaml(text) == {
        "base": {"lr": 1, "seed": 2},
        "mine": {"lr": 1, "seed": 3},
        "again": {"lr": 1, "seed": 2},
    }


@pytest.mark.parametrize("text", ["1e-4", "1:30", "010", "2026-11-26", "yes", "a", "", "0x1", "~"])
def test_yaml_writer__text_reads_back_as_text(text: str) -> None:
    assert parse_yaml(yaml.dump({"a": text}, Dumper=YamlWriter)) == {"a": text}
