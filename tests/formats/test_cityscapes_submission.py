"""Submission folders: round trip, and every malformed line named with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.errors import UserError
from uda4inst.formats.cityscapes_submission import read_submission, write_submission
from uda4inst.formats.predictions import ImagePredictions, ScoredMask

SIZE = (4, 6)
NAME = "bonn_000001_000019"
MASK = np.zeros(SIZE, dtype=bool)
MASK[1:3, 2:5] = True


def folder_with(folder: Path, text: str) -> Path:
    Image.fromarray(MASK.astype(np.uint8)).save(folder / "m.png")
    (folder / f"{NAME}_pred.txt").write_text(text)
    return folder


def test_submission__round_trip(tmp_path: Path) -> None:
    score = 0.1 + 0.2  # needs all 17 digits
    detections = (ScoredMask(2, score, MASK), ScoredMask(5, -1e-30, ~MASK), ScoredMask(-1, 1, MASK))
    assert write_submission(tmp_path, [ImagePredictions(NAME + "_leftImg8bit", SIZE, detections)])
    first, second = (line.load(SIZE) for line in read_submission(tmp_path, [NAME])[NAME])
    assert (first.label, first.score) == (2, score)
    assert (second.label, second.score) == (5, -1e-30)
    np.testing.assert_array_equal(second.pixels(), ~MASK)


def test_submission__names_that_begin_others(tmp_path: Path) -> None:
    names = ["1", "10", "100", "11"]
    for name in names:
        found = (ScoredMask(2, int(name) / 1000, MASK),)
        write_submission(tmp_path, [ImagePredictions(name, SIZE, found)])
    read = read_submission(tmp_path, names)
    assert {name: [line.score for line in lines] for name, lines in read.items()} == {
        name: [int(name) / 1000] for name in names
    }
    (tmp_path / "1_pred.txt").unlink()  # that of 10 is not its own
    with pytest.raises(UserError, match=r"image 1 has no 1\*\.txt"):
        read_submission(tmp_path, names)


def test_write_submission__one_name_once(tmp_path: Path) -> None:
    image = ImagePredictions(NAME, SIZE, ())
    with pytest.raises(UserError, match=f"'{NAME}' twice"):
        write_submission(tmp_path, [image, image])


def test_read_submission__finds_files_in_folders_and_takes_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / f"a/b/{NAME}.txt").write_text("")
    assert read_submission(tmp_path, [NAME]) == {NAME: []}


def test_read_submission__last_line_of_a_mask_wins(tmp_path: Path) -> None:
    folder_with(tmp_path, "m.png 26 0.5\n./m.png 24.0 1e-1")
    (line,) = read_submission(tmp_path, [NAME])[NAME]
    assert (line.label_id, line.score) == (24, 0.1)


@pytest.mark.parametrize("label_id", [-1, 7, 29])
def test_read_submission__other_labels_are_out_of_class(tmp_path: Path, label_id: int) -> None:
    folder_with(tmp_path, f"m.png {label_id} 0.5\n")
    assert read_submission(tmp_path, [NAME])[NAME][0].load(SIZE).label == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("m.png 26 0.5\n\n", r"line 2: must be .*got ''", id="blank_line"),
        pytest.param("m.png  26 0.5\n", "line 1: must be .*single spaces", id="two_spaces"),
        pytest.param("m.png 26\n", "line 1: must be", id="two_words"),
        pytest.param("/m.png 26 0.5\n", "line 1: mask path must be relative", id="absolute"),
        pytest.param("../m.png 26 0.5\n", "line 1: mask path must stay inside", id="outside"),
        pytest.param("n.png 26 0.5\n", "line 1: mask must exist, got no file n.png", id="no_mask"),
        pytest.param(f"{'m' * 300} 26 0.5\n", "line 1: mask must exist", id="no_name_for_a_file"),
        pytest.param("m.png car 0.5\n", "line 1: label id and score must be numbers", id="name"),
        pytest.param("m.png inf 0.5\n", "line 1: label id and score must be numbers", id="inf"),
        pytest.param("m.png 34 0.5\n", r"line 1: label id must be .*-1\.\.33", id="unknown_id"),
        pytest.param("m.png 26 nan\n", "line 1: score must be finite, got nan", id="nan"),
    ],
)
def test_read_submission__refuses_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    folder_with(tmp_path, text)
    with pytest.raises(UserError, match=rf"{NAME}_pred\.txt {message}"):
        read_submission(tmp_path, [NAME])


def test_read_submission__names_missing_and_doubled_files_together(tmp_path: Path) -> None:
    folder_with(tmp_path, "")
    (tmp_path / f"{NAME}_again.txt").write_text("")
    with pytest.raises(UserError) as caught:
        read_submission(tmp_path, [NAME, "ulm_000000_000019"])
    assert f"image {NAME} has 2 text files" in str(caught.value)
    assert "image ulm_000000_000019 has no ulm_000000_000019*.txt" in str(caught.value)


def test_mask_line__refuses_a_mask_of_another_size(tmp_path: Path) -> None:
    (line,) = read_submission(folder_with(tmp_path, "m.png 26 0.5\n"), [NAME])[NAME]
    with pytest.raises(UserError, match=r"size 8x8, got 4x6 .*m\.png, bonn.*line 1"):
        line.load((8, 8))


def test_mask_line__refuses_a_broken_mask(tmp_path: Path) -> None:
    folder_with(tmp_path, "m.png 26 0.5\n")
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:40])
    (line,) = read_submission(tmp_path, [NAME])[NAME]
    with pytest.raises(UserError, match=r"readable image.*m\.png, bonn.*line 1"):
        line.load(SIZE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "I;16"])
def test_mask_line__nonzero_gray_is_the_object_in_every_mode(tmp_path: Path, mode: str) -> None:
    folder_with(tmp_path, "m.png 26 0.5\n")
    if mode == "I;16":
        picture = Image.fromarray(MASK.astype(np.uint16) * 300)
    else:
        picture = Image.fromarray(MASK.astype(np.uint8) * 255).convert(mode)
    picture.save(tmp_path / "m.png")
    expected = np.asarray(Image.open(tmp_path / "m.png").convert("L")) != 0
    (line,) = read_submission(tmp_path, [NAME])[NAME]
    np.testing.assert_array_equal(line.load(SIZE).pixels(), expected)
    assert expected.sum() == MASK.sum()


def test_submission__names_with_spaces(tmp_path: Path) -> None:
    names = ["my photo", "my  photo", "other"]
    write_submission(
        tmp_path, [ImagePredictions(n, SIZE, (ScoredMask(2, 1, MASK),)) for n in names]
    )
    found = read_submission(tmp_path, names)
    masks = [line.mask for name in names for line in found[name]]
    assert len(set(masks)) == 3
    np.testing.assert_array_equal(found["my photo"][0].load(SIZE).pixels(), MASK)
