"""The predictions file: written whole, read back, refused when cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uda4inst.errors import UserError
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    basename,
    read_predictions,
    to_line,
    writing_text,
)

MASK = np.eye(5, dtype=bool)[:, :4]
IMAGE = ImagePredictions("bonn_000001_000019", (5, 4), (ScoredMask(3, 0.1 + 0.2, MASK),))


def write(path: Path, *images: ImagePredictions) -> None:
    with writing_text(path, compressed=True) as put:
        for image in images:
            put(to_line(image))


def test_predictions__round_trip(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl.gz", IMAGE, ImagePredictions("empty", (2, 2), ()))
    first, second = read_predictions(tmp_path / "p.jsonl.gz")
    assert (first.sample_id, first.size, second.detections) == (IMAGE.sample_id, (5, 4), ())
    assert (first.detections[0].label, first.detections[0].score) == (3, 0.1 + 0.2)
    np.testing.assert_array_equal(first.detections[0].pixels(), MASK)


def test_writing_text__equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", IMAGE)
    write(tmp_path / "b.jsonl.gz", IMAGE)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_writing_text__an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")

    def fail() -> None:
        with writing_text(tmp_path / "a.txt") as put:
            put("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_read_predictions__refuses_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    write(path, *[IMAGE] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"whole gzipped JSON lines.*p\.jsonl\.gz, after line"):
        list(read_predictions(path))


def test_read_predictions__names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must exist, got none .*p\.jsonl\.gz"):
        list(read_predictions(tmp_path / "p.jsonl.gz"))


@pytest.mark.parametrize(("label", "score"), [(100, 0.5), (-2, 0.5), (0, float("nan"))])
def test_scored_mask__checks_its_values(label: int, score: float) -> None:
    with pytest.raises(ValueError, match=r"must (lie in|be finite)"):
        ScoredMask(label, score, MASK)


@pytest.mark.parametrize(
    "name",
    [
        "bonn_000001_000019",
        "bonn_000001_000019_leftImg8bit.png",
        "val/bonn/bonn_000001_000019_gtFine_instanceIds.png",
        "val\\bonn\\bonn_000001_000019_leftImg8bit",
        "bonn_000001_000019_pred.txt",
        "bonn_000001_000019.jpg",
    ],
)
def test_basename__finds_the_cityscapes_name(name: str) -> None:
    assert basename(name) == "bonn_000001_000019"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("my_own_long_name.png", "my_own_long_name", id="own"),
        pytest.param(
            "a/2013_05_28_0_gtFine_instanceIds.png", "2013_05_28_0", id="cityscapes-ending"
        ),
        pytest.param("scene.01", "scene.01", id="dots"),
        pytest.param("bonn_000001_0000199", "bonn_000001_0000199", id="seven-digits"),
        pytest.param("0000_00_0000000011", "0000_00_0000000011", id="kitti360"),
    ],
)
def test_basename__keeps_other_names_apart(name: str, expected: str) -> None:
    assert basename(name) == expected
