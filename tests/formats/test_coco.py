"""COCO files: what we write is read back, what others write is taken or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.errors import UserError
from uda4inst.formats.coco import (
    CocoImage,
    annotations_of,
    image_numbers,
    read_results,
    write_instances,
    write_results,
)
from uda4inst.formats.predictions import ImagePredictions, ScoredMask
from uda4inst.formats.rle import rle_encode
from uda4inst.structures import Size

SIZE = (4, 6)
NAMES = ("aachen_000000_000019", "bonn_000001_000019")
SIZES: dict[str, Size] = dict.fromkeys(NAMES, SIZE)
MASK = np.zeros(SIZE, dtype=bool)
MASK[1:3, 2:5] = True
RLE = rle_encode(MASK)


def write(folder: Path, document: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(document))
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"image_id": NAMES[0], "category_id": 3, "segmentation": RLE, "score": 0.5} | changes


def test_annotations_of__objects_and_groups() -> None:
    ids = np.full(SIZE, 7, dtype=np.uint16)
    ids[0, 0], ids[1:3, 2:5], ids[3, :], ids[0, 5] = 29000, 26001, 24, 1
    person_group, car = annotations_of(ids)
    assert (person_group["category_id"], person_group["iscrowd"], person_group["area"]) == (1, 1, 6)
    assert car == {
        "category_id": 3,
        "iscrowd": 0,
        "area": 6,
        "bbox": [2, 1, 3, 2],
        "segmentation": RLE,
    }


def test_write_instances__ids_begin_at_one(tmp_path: Path) -> None:
    found = annotations_of(np.full(SIZE, 26000, dtype=np.uint16))
    images = [CocoImage(f"{name}_leftImg8bit.png", SIZE, found) for name in NAMES]
    assert write_instances(tmp_path / "gt.json", images, description="two cars") == 2
    document = json.loads((tmp_path / "gt.json").read_text())
    assert [image["id"] for image in document["images"]] == [1, 2]
    assert [(a["id"], a["image_id"]) for a in document["annotations"]] == [(1, 1), (2, 2)]
    assert [c["name"] for c in document["categories"]][2] == "car"
    assert document["info"] == {"description": "two cars"}


def test_write_instances__an_error_leaves_nothing(tmp_path: Path) -> None:
    def images() -> Iterator[CocoImage]:
        yield CocoImage("a.png", SIZE, [])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_instances(tmp_path / "gt.json", images(), description="cut short")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("numbers", [None, image_numbers(NAMES)], ids=["names", "numbers"])
def test_results__round_trip(tmp_path: Path, numbers: dict[str, int] | None) -> None:
    detections = (ScoredMask(2, 0.1 + 0.2, MASK), ScoredMask(-1, 0.5, MASK))
    image = ImagePredictions(NAMES[1] + "_leftImg8bit", SIZE, detections)
    assert write_results(tmp_path / "r.json", [image], numbers=numbers) == 1
    found = read_results(tmp_path / "r.json", SIZES)
    assert found[NAMES[0]] == []
    (read,) = found[NAMES[1]]
    assert (read.label, read.score) == (2, 0.1 + 0.2)
    np.testing.assert_array_equal(read.pixels(), MASK)


@pytest.mark.parametrize(
    "image_id",
    [NAMES[1], NAMES[1] + "_leftImg8bit.png", f"val/bonn/{NAMES[1]}_leftImg8bit.png", 2],
)
def test_read_results__accepts_names_files_and_numbers(tmp_path: Path, image_id: object) -> None:
    found = read_results(write(tmp_path, [entry(image_id=image_id)]), SIZES)
    assert len(found[NAMES[1]]) == 1


def test_read_results__images_say_what_numbers_mean(tmp_path: Path) -> None:
    images = [{"id": 77, "file_name": f"{NAMES[1]}_leftImg8bit.png"}]
    path = write(tmp_path, {"images": images, "annotations": [entry(image_id=77)]})
    assert len(read_results(path, SIZES)[NAMES[1]]) == 1


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param(RLE, id="compressed"),
        pytest.param({"size": list(SIZE), "counts": [9, 2, 2, 2, 2, 2, 5]}, id="uncompressed"),
        pytest.param([[2, 1, 5, 1, 5, 3, 2, 3]], id="polygon"),
    ],
)
def test_read_results__accepts_every_form_of_mask(tmp_path: Path, segmentation: Any) -> None:
    found = read_results(write(tmp_path, [entry(segmentation=segmentation)]), SIZES)
    np.testing.assert_array_equal(found[NAMES[0]][0].pixels(), MASK)


def test_read_results__accepts_cityscapes_ids(tmp_path: Path) -> None:
    entries = [entry(category_id=i) for i in (24, 33, 29)]
    found = read_results(write(tmp_path, entries), SIZES)
    assert [d.label for d in found[NAMES[0]]] == [0, 7, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"image_id": 0}, r"must lie in 1\.\.2", id="number_zero"),
        pytest.param({"image_id": "ulm_000000_000019"}, "an image of the split", id="unknown"),
        pytest.param({"image_id": None}, "a name or a number, got None", id="no_image"),
        pytest.param({"category_id": 0}, "1 person, 2 rider", id="class_zero"),
        pytest.param({"category_id": 9}, r"24\.\.33 in every entry, got 9", id="class_nine"),
        pytest.param({"score": "high"}, "finite number, got 'high'", id="score_text"),
        pytest.param({"score": None}, "finite number, got None", id="no_score"),
        pytest.param({"segmentation": None}, "run-length code", id="no_mask"),
        pytest.param({"segmentation": [[1, 2, 3, 4]]}, "at least 3 points", id="two_points"),
        pytest.param({"segmentation": [[0, 0, 1e9, 0, 0, 1e9]]}, "near the image", id="far_away"),
        pytest.param({"segmentation": {"size": 4, "counts": "2"}}, "got 4", id="size_number"),
        pytest.param({"score": 10**400}, "too large", id="score_huge"),
        pytest.param(
            {"segmentation": {"size": [6, 4], "counts": "abc"}}, r"image's \[4, 6\]", id="size"
        ),
        pytest.param(
            {"segmentation": {"size": [4, 6], "counts": "abc"}}, "fill 4x6 pixels", id="counts"
        ),
        pytest.param(
            {"segmentation": {"size": [4, 6], "counts": [4]}}, "fill 4x6 pixels", id="short"
        ),
    ],
)
def test_read_results__refuses_with_the_entry(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, [entry(), entry(**changes)])
    with pytest.raises(
        UserError, match=rf"1 bad of 2 entries .*results.json\):\n.*entry 1: .*{message}"
    ):
        read_results(path, SIZES)


def test_read_results__mixed_category_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"entry 0: category_id .* got 3"):
        read_results(write(tmp_path, [entry(), entry(category_id=26)]), SIZES)


def test_read_results__counts_all_and_shows_five(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"7 bad of 7(.|\n)*and 2 more"):
        read_results(write(tmp_path, [entry(score=None)] * 7), SIZES)


@pytest.mark.parametrize(
    "text", ["{", "3", '{"annotations": []}', "[1]", '{"images": [{}], "annotations": []}']
)
def test_read_results__refuses_other_documents(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=r"results\.json"):
        read_results(tmp_path / "results.json", SIZES)
