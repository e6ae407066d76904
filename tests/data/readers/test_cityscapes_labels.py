"""Reading raw annotation: the right files, in order, and a reason for every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.data.readers.cityscapes import CityscapesLabels
from uda4inst.errors import UserError

IDS = np.array([[7, 24000, 26], [33999, 0, 29001]], dtype=np.uint16)


def put(root: Path, city: str, number: int, ids: np.ndarray = IDS) -> Path:
    folder = root / "gtFine/val" / city
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{city}_{number:06d}_000019_gtFine_instanceIds.png"
    Image.fromarray(ids).save(path)
    return path


def test_cityscapes_labels__sorts_by_name(tmp_path: Path) -> None:
    for city, number in (("ulm", 2), ("ulm", 1), ("bonn", 9)):
        put(tmp_path, city, number)
    truth = CityscapesLabels(tmp_path, "val")
    names = [truth.basename(index) for index in range(len(truth))]
    assert names == ["bonn_000009_000019", "ulm_000001_000019", "ulm_000002_000019"]
    assert truth.size_of(0) == (2, 3)
    np.testing.assert_array_equal(truth.read_instance_ids(1), IDS)


def test_cityscapes_labels__without_files(tmp_path: Path) -> None:
    (tmp_path / "gtFine/val/ulm").mkdir(parents=True)
    with pytest.raises(UserError, match=r"instanceIds\.png files, got none"):
        CityscapesLabels(tmp_path, "val")


def test_cityscapes_labels__without_the_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give the Cityscapes root"):
        CityscapesLabels(tmp_path / "nothing", "val")


def test_cityscapes_labels__one_name_twice(tmp_path: Path) -> None:
    put(tmp_path, "ulm", 1)
    (tmp_path / "gtFine/val/other").mkdir()
    put(tmp_path, "ulm", 1).rename(
        tmp_path / "gtFine/val/other/ulm_000001_000019_gtFine_instanceIds.png"
    )
    put(tmp_path, "ulm", 1)
    with pytest.raises(UserError, match="two files of ulm_000001_000019"):
        CityscapesLabels(tmp_path, "val")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(
            np.zeros((2, 2, 3), np.uint8), "a PNG of 16-bit gray, got 8-bit RGB", id="rgb"
        ),
        pytest.param(
            np.full((2, 2), 40, np.uint8),
            "got 8-bit gray .*has lost",
            id="eight_bits",
        ),
        pytest.param(np.full((2, 2), 34001, np.uint16), "got 34001", id="unknown_class"),
    ],
)
def test_read_instance_ids__refuses(tmp_path: Path, picture: np.ndarray, message: str) -> None:
    put(tmp_path, "ulm", 1, picture)
    with pytest.raises(UserError, match=message):
        CityscapesLabels(tmp_path, "val").read_instance_ids(0)


def test_read_instance_ids__refuses_a_cut_file(tmp_path: Path) -> None:
    path = put(tmp_path, "ulm", 1)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"complete PNG.*ulm_000001"):
        CityscapesLabels(tmp_path, "val").read_instance_ids(0)
