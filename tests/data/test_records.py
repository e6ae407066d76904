"""What data sets share: checks over whole trees, and their messages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.data.records import shorten
from uda4inst.data.tree import check_sizes, describe
from uda4inst.errors import UserError
from uda4inst.toystreets.write import ToyStreetsTree


def test_check_sizes__passes_good_trees(tree: ToyStreetsTree) -> None:
    check_sizes(UrbanSyn(tree.source_root))
    check_sizes(Cityscapes(tree.target_root, "val"))


def test_check_sizes__names_all_faulty_files_at_once(own_tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(own_tree.source_root)
    cv2.imwrite(str(dataset.records[1].labels[0]), np.zeros((4, 4), dtype=np.uint8))
    dataset.records[3].image.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        check_sizes(dataset)
    lines = str(caught.value).splitlines()
    assert "2 of 6 images with faults" in lines[0]
    assert "ss_0002.png" in lines[1]
    assert "rgb_0004.png" in lines[2]


def test_describe__one_line(tree: ToyStreetsTree) -> None:
    text = describe(Cityscapes(tree.target_root, "val"))
    assert text == f"Cityscapes val: 3 images of 48x96 ({tree.target_root})"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, ""), (5, "0, 1, 2, 3, 4"), (7, "0, 1, 2, 3, 4, and 2 more")]
)
def test_shorten__five_and_the_rest(count: int, shown: str) -> None:
    assert shorten(str(i) for i in range(count)) == shown
