"""Class maps: files that people write, and those written for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.formats.class_map import MapEntry, folded, read_class_map, write_class_map


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_read_class_map__names_to_classes_or_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "a.yaml", "# mine\nclasses:\n  Toy-Car: car\n  dog:\n  Läufer: person\n")
    found = read_class_map(path)
    assert found.names == (("dog", None), ("läufer", "person"), ("toy car", "car"))
    assert found.path == str(path)
    assert (found.label_of("toy_car"), found.label_of("LÄUFER")) == (2, 0)
    assert (found.label_of("dog"), found.has("Dog")) == (None, True)
    assert (found.label_of("car"), found.has("car")) == (None, False)


def test_hash__differs_with_a_class_and_not_with_order_case_or_comments(tmp_path: Path) -> None:
    one = read_class_map(put(tmp_path / "a.yaml", "classes: {a: car, b: }"))
    same = read_class_map(put(tmp_path / "b.yaml", "# x\nclasses:\n  B:\n  A: car\n"))
    other = read_class_map(put(tmp_path / "c.yaml", "classes: {a: car, b: bus}"))
    assert one.hash == same.hash
    assert one.hash != other.hash
    assert len(one.hash) == 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "one mapping, classes", id="empty"),
        pytest.param("classes: {}", "one mapping, classes", id="no-names"),
        pytest.param("[a]", "one mapping, classes", id="list"),
        pytest.param("classes: {a: car}\nmore: 1", "one mapping, classes", id="more"),
        pytest.param("classes: {a: van}", "a: class must be one of person", id="foreign"),
        pytest.param("classes: {a: trian}", "Did you mean train", id="typo"),
        pytest.param("classes: {a: 2}", "a: class must be one of", id="number"),
        pytest.param("classes: {1: car}", "must be text, got 1: write it in quotes", id="key"),
        pytest.param("classes: {no: car}", "must be text, got False", id="yaml-switch"),
        pytest.param("classes: {'-': car}", "must be text, got '-'", id="blank"),
        pytest.param("classes: {a b: car, a_b: bus}", "once, got 'a_b' again", id="twice"),
        pytest.param("classes: {a: car, a: bus}", "key 'a' twice", id="twice-in-yaml"),
        pytest.param("classes: {a", "readable YAML file", id="no-yaml"),
    ],
)
def test_read_class_map__bad_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"a\.yaml") as caught:
        read_class_map(put(tmp_path / "a.yaml", text))
    assert words in str(caught.value)


def test_read_class_map__all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got 2 faults") as caught:
        read_class_map(put(tmp_path / "a.yaml", "classes: {1: car, a: van}"))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: None], ids=["folder", "missing"])
def test_read_class_map__no_file(tmp_path: Path, make: object) -> None:
    make(tmp_path / "a.yaml")  # type: ignore[operator]
    with pytest.raises(UserError, match="class map must be a readable YAML file"):
        read_class_map(tmp_path / "a.yaml")


def test_write_class_map__reads_back_with_its_remarks(tmp_path: Path) -> None:
    names = ["car", "no", "1", "a: b", "x # y", "?", "- z", "null", "tab\there", "two\nlines", "é"]
    entries = [MapEntry(n, THING_NAMES[k % 8] if k % 3 else None, "9 seen") for k, n in
               enumerate(names)]  # fmt: skip
    write_class_map(tmp_path / "a.yaml", entries, about=["Yours to edit."])
    found = read_class_map(tmp_path / "a.yaml")
    assert dict(found.names) == {folded(e.name): e.ours for e in entries}
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Yours to edit.\nclasses:\n  car:  # 9 seen\n")
    assert text.count("# 9 seen\n") == len(names)


def test_read_class_map__classes_of_its_own(tmp_path: Path) -> None:
    text = "own: [traffic sign, cone]\nclasses:\n  Sign: traffic sign\n  pylon: cone\n  x: car\n"
    found = read_class_map(put(tmp_path / "a.yaml", text))
    assert found.things.own == ("traffic sign", "cone")
    assert (found.label_of("sign"), found.label_of("Pylon"), found.label_of("x")) == (8, 9, 2)
    swapped = text.replace("[traffic sign, cone]", "[cone, traffic sign]")
    assert read_class_map(put(tmp_path / "b.yaml", swapped)).hash != found.hash


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("own: [Cone]\nclasses: {a: car}", "lower-case letters"),
        ("own: [car]\nclasses: {a: car}", "got 'car' again"),
        ("own: cone x!\nclasses: {a: car}", "lower-case letters"),
        ("own: [cone]\nclasses: {a: cones}", r"train, motorcycle, bicycle, cone, or nothing"),
        ("mine: [cone]\nclasses: {a: car}", "may hold a list, own, got another content"),
    ],
)
def test_read_class_map__bad_classes_of_its_own(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_class_map(put(tmp_path / "a.yaml", text))


def test_write_class_map__own_classes_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_class_map(path, [MapEntry("Tow-Truck", "tow truck")], own=["tow truck"])
    assert read_class_map(path).label_of("tow truck") == 8


def test_read_class_map__own_classes_may_be_numbers(tmp_path: Path) -> None:
    found = read_class_map(put(tmp_path / "a.yaml", "own: [1]\nclasses: {dog: 1, a: car}\n"))
    assert (found.label_of("dog"), found.label_of("a")) == (8, 2)
