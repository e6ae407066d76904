"""Reading raw annotation: the right files, in order, and a reason for every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.errors import UserError
from uda4inst.evaluation.ground_truth import find_ground_truth, read_instance_ids

IDS = np.array([[7, 24000, 26], [33999, 0, 29001]], dtype=np.uint16)


def put(root: Path, city: str, number: int, ids: np.ndarray = IDS) -> Path:
    folder = root / "gtFine/val" / city
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{city}_{number:06d}_000019_gtFine_instanceIds.png"
    Image.fromarray(ids).save(path)
    return path


def test_find_ground_truth__sorts_by_name(tmp_path: Path) -> None:
    for city, number in (("ulm", 2), ("ulm", 1), ("bonn", 9)):
        put(tmp_path, city, number)
    truth = find_ground_truth(tmp_path)
    assert truth.names == ("bonn_000009_000019", "ulm_000001_000019", "ulm_000002_000019")
    assert truth.size_of(0) == (2, 3)
    assert truth.by_name["bonn_000009_000019"] == truth.paths[0]
    np.testing.assert_array_equal(truth.read(1), IDS)


def test_find_ground_truth__without_files(tmp_path: Path) -> None:
    (tmp_path / "gtFine/val/ulm").mkdir(parents=True)
    with pytest.raises(UserError, match=r"instanceIds\.png files, got none"):
        find_ground_truth(tmp_path)


def test_find_ground_truth__without_the_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give the Cityscapes root"):
        find_ground_truth(tmp_path / "nothing")


def test_find_ground_truth__one_name_twice(tmp_path: Path) -> None:
    put(tmp_path, "ulm", 1)
    (tmp_path / "gtFine/val/other").mkdir()
    put(tmp_path, "ulm", 1).rename(
        tmp_path / "gtFine/val/other/ulm_000001_000019_gtFine_instanceIds.png"
    )
    put(tmp_path, "ulm", 1)
    with pytest.raises(UserError, match="two files of ulm_000001_000019"):
        find_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(
            np.zeros((2, 2, 3), np.uint8), "one-channel 16-bit PNG, got mode RGB", id="rgb"
        ),
        pytest.param(np.full((2, 2), 40, np.uint8), r"got \[40\] .*8-bit", id="eight_bits"),
        pytest.param(np.full((2, 2), 34001, np.uint16), r"got \[34001\]", id="unknown_class"),
    ],
)
def test_read_instance_ids__refuses(tmp_path: Path, picture: np.ndarray, message: str) -> None:
    path = put(tmp_path, "ulm", 1, picture)
    with pytest.raises(UserError, match=message):
        read_instance_ids(path)


def test_read_instance_ids__refuses_a_cut_file(tmp_path: Path) -> None:
    path = put(tmp_path, "ulm", 1)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"readable PNG.*ulm_000001"):
        read_instance_ids(path)
