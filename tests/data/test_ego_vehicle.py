"""The valid region: none, a file, the file in the root, or Cityscapes' own shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uda4inst.data.config import TargetRef
from uda4inst.data.ego_vehicle import cityscapes_region, valid_region
from uda4inst.errors import UserError
from uda4inst.toystreets.encode import encode_png

MASK = np.array([[255, 20, 255, 255], [19, 0, 0, 255]], dtype=np.uint8)


def target(root: Path, ego_vehicle: str, *, layout: str = "cityscapes") -> TargetRef:
    return TargetRef.model_validate(
        {"format": layout, "root": str(root), "ego_vehicle": ego_vehicle}
    )


def test_valid_region__auto_takes_the_file_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "ego_vehicle.png").write_bytes(encode_png(MASK))
    seen = valid_region(target(tmp_path, "auto"), (2, 4))
    np.testing.assert_array_equal(seen, [[True] * 4, [False, False, False, True]])


def test_valid_region__auto_without_file_knows_cityscapes(tmp_path: Path) -> None:
    seen = valid_region(target(tmp_path, "auto"), (128, 256))
    np.testing.assert_array_equal(seen, cityscapes_region((128, 256)))


@pytest.mark.parametrize(
    ("setting", "layout", "size"),
    [
        ("none", "cityscapes", (128, 256)),
        ("auto", "urbansyn", (128, 256)),
        ("auto", "cityscapes", (9, 9)),
    ],
)
def test_valid_region__everywhere(
    tmp_path: Path, setting: str, layout: str, size: tuple[int, int]
) -> None:
    assert valid_region(target(tmp_path, setting, layout=layout), size).all()


def test_valid_region__a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(encode_png(MASK))
    seen = valid_region(target(tmp_path, str(tmp_path / "mine.png")), (2, 4))
    assert int(seen.sum()) == 5


def test_valid_region__another_size(tmp_path: Path) -> None:
    (tmp_path / "ego_vehicle.png").write_bytes(encode_png(MASK))
    with pytest.raises(UserError, match=r"size \(4, 8\), got \(2, 4\) .*ego_vehicle.png"):
        valid_region(target(tmp_path, "auto"), (4, 8))


def test_valid_region__missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        valid_region(target(tmp_path, str(tmp_path / "gone.png")), (2, 4))


def test_cityscapes_region__covers_the_authors_share() -> None:
    assert 1 - cityscapes_region((1024, 2048)).mean() == pytest.approx(0.136, abs=0.002)
    assert not cityscapes_region((1024, 2048))[956:].any()
    assert cityscapes_region((1024, 2048))[:765].all()


def test_valid_region__a_mask_of_zeros_and_ones(tmp_path: Path) -> None:
    (tmp_path / "ego_vehicle.png").write_bytes(encode_png(np.eye(4, dtype=np.uint8)))
    with pytest.raises(UserError, match=r"20 to 255 where .*, got values of at most 1 .*by 255"):
        valid_region(target(tmp_path, "auto"), (4, 4))
