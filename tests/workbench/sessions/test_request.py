"""What is asked for: which trees, whose labels, and one name for one request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from uda4inst.structures import Domain
from workbench.sessions.request import (
    DataRequest,
    LabelState,
    Side,
    label_state,
    open_sides,
    request_preset,
    request_refs,
    request_tree,
)


def side(domain: Domain, split: str = "train") -> Side:
    ref = DatasetRef.model_validate({"format": "cityscapes", "root": "x", "split": split})
    return Side(domain, ref)


@pytest.mark.parametrize(
    ("domain", "split", "asked", "expected"),
    [
        pytest.param("source", "train", False, "ground truth", id="source"),
        pytest.param("target", "val", False, "ground truth", id="judged-target"),
        pytest.param("target", "train", False, "none", id="training-target"),
        pytest.param("target", "train_extra", False, "none", id="any-other-split"),
        pytest.param("target", "train", True, "diagnostics", id="training-target-asked-for"),
        pytest.param("target", "val", True, "ground truth", id="judged-target-asked-for"),
    ],
)
def test_label_state__hides_what_training_must_not_see(
    domain: Domain, split: str, asked: bool, expected: LabelState
) -> None:
    found = label_state(side(domain, split), has_labels=True, target_labels=asked)
    assert found == expected


def test_label_state__of_a_format_without_labels() -> None:
    assert label_state(side("source"), has_labels=False, target_labels=True) == "none"


def test_name__is_one_for_one_request(toy: Path) -> None:
    root = toy / "urbansyn"
    name = request_tree("urbansyn", root).name()
    assert request_tree("urbansyn", root / ".." / "urbansyn").name() != ""
    assert request_tree("urbansyn", root).name() == name
    few = request_tree("urbansyn", root, limit=2)
    assert few.name() != name
    asked = replace(few, also=("rgb_0002",)).name()
    assert asked not in (few.name(), name)
    assert replace(few, also=("rgb_0003", "rgb_0004")).name() == asked
    assert request_tree("urbansyn", root, target_labels=True).name() != name


def test_name__is_plain_whatever_the_title() -> None:
    name = DataRequest("街 улица Straße!", (side("source"),)).name()
    assert name.startswith("data-stra-e-") or name.startswith("data-strae-")
    assert DataRequest("街", (side("source"),)).name().startswith("data-images-")


def test_open_sides__opens_no_label_that_is_not_shown(toy: Path) -> None:
    (hidden,) = open_sides(request_tree("cityscapes", toy / "cityscapes"))
    assert hidden.labels == "none"
    assert all(record.labels == () for record in hidden.tree.records)
    asked = request_tree("cityscapes", toy / "cityscapes", target_labels=True)
    (shown,) = open_sides(asked)
    assert shown.labels == "diagnostics"
    assert all(record.labels for record in shown.tree.records)


def test_open_sides__limit_is_spread(toy: Path) -> None:
    (few,) = open_sides(request_tree("urbansyn", toy / "urbansyn", limit=3))
    assert few.chosen == (0, 4, 7)
    (all_of_them,) = open_sides(request_tree("urbansyn", toy / "urbansyn", limit=100))
    assert all_of_them.chosen == tuple(range(8))


def test_open_sides__unknown_images_are_named(toy: Path) -> None:
    request = replace(request_tree("urbansyn", toy / "urbansyn"), also=("rgb_0001", "nobody"))
    with pytest.raises(UserError, match="--also must name images of the data set, got nobody"):
        open_sides(request)


def test_holding__adds_images_by_name(toy: Path) -> None:
    (few,) = open_sides(request_tree("urbansyn", toy / "urbansyn", limit=2))
    assert few.holding(["rgb_0003", "rgb_0008", "of another side"]).chosen == (0, 2, 7)
    assert few.chosen == (0, 7)


def test_fingerprint__changes_with_the_files(toy: Path, tmp_path: Path) -> None:
    import shutil

    root = Path(shutil.copytree(toy / "urbansyn", tmp_path / "urbansyn"))
    (before,) = open_sides(request_tree("urbansyn", root))
    first = before.fingerprint()
    assert before.fingerprint() == first
    picture = before.tree.records[0].image
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert before.fingerprint() != first
    picture.unlink()
    with pytest.raises(UserError, match="must stay while they are read"):
        before.fingerprint()


def test_request_preset__has_both_domains() -> None:
    request = request_preset("toystreets_smoke")
    assert [one.domain for one in request.sides] == ["source", "target"]
    assert request.title == "toystreets_smoke"


@pytest.mark.parametrize(
    ("name", "root", "words"),
    [
        pytest.param("urbansin", ".", "Did you mean urbansyn?", id="format"),
        pytest.param("urbansyn", "nowhere", "ROOT must be the data set's folder", id="folder"),
    ],
)
def test_request_tree__mistakes(name: str, root: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        request_tree(name, tmp_path / root)


def test_request_refs__domains_are_those_that_are_named(toy: Path) -> None:
    text = f"{{format: urbansyn, root: {toy / 'urbansyn'}, max_occlusion: 0.5}}"
    found = request_refs({"target": text}, target_labels=True, limit=3)
    (one,) = found.sides
    assert (one.domain, one.ref.format, one.ref.max_occlusion) == ("target", "urbansyn", 0.5)
    assert (found.target_labels, found.limit) == (True, 3)
    both = request_refs({"source": text, "target": text})
    assert [side.domain for side in both.sides] == ["source", "target"]
    assert both.title == "urbansyn urbansyn train and urbansyn urbansyn train"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{format: urbansyn", "no YAML", id="yaml"),
        pytest.param("{format: urbansyn}", "root: Field required", id="root"),
        pytest.param("{format: urban, root: x}", "format: Input should be", id="format"),
        pytest.param("urbansyn", "valid dictionary", id="word"),
    ],
)
def test_request_refs__wrong_text_is_named(text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"--source must be like \{format") as caught:
        request_refs({"source": text})
    assert words in str(caught.value)
