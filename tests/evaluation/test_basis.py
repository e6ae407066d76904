from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uda4inst.data.readers.cityscapes import Cityscapes
from uda4inst.evaluation.basis import (
    Basis,
    basis_json,
    basis_of,
    count_together,
    hash_of_names,
    read_basis,
    said,
)

FULL = Basis("Cityscapes (data)", "val", 16, 100, "0123456789abcdef")


def test_said__protocol_network_step_and_images() -> None:
    text = said(FULL, protocol="pixels", network="teacher", step=1200)
    assert text == "Cityscapes pixel protocol, teacher, step 1,200, 16 of 100 images"
    assert said(FULL, protocol="coco", network="predictions", step=None) == (
        "COCO protocol, predictions, 16 of 100 images"
    )


def test_is_same_as__only_what_is_known_to_be_the_same() -> None:
    assert FULL.is_same_as(replace(FULL))
    for other in (
        replace(FULL, names="f" * 16),
        replace(FULL, dataset="Cityscapes (elsewhere)"),
        replace(FULL, split="train"),
    ):
        assert not FULL.is_same_as(other)
    unnamed = replace(FULL, names="")
    assert not unnamed.is_same_as(unnamed)


def test_count_together__adds_up_whole_sets_and_lists_what_is_not_apart() -> None:
    other = replace(FULL, dataset="Cityscapes (other)", images=84, names="f" * 16)
    assert count_together([FULL, other, FULL]) == "100 of 200 images of 2 data sets"
    assert count_together([FULL, FULL]) == "16 of 100 images"
    assert count_together([]) == ""
    # One data set judged twice is no sum of two.
    more = replace(FULL, images=100, names="f" * 16)
    assert count_together([FULL, more]) == "16 of 100 images and 100 of 100 images"
    assert count_together([FULL, more, other]) == (
        "16 of 100 images and 100 of 100 images and 84 of 100 images"
    )
    unknown = replace(other, there=None)
    assert count_together([FULL, unknown]) == (
        "16 of 100 images and 84 images (of how many is not recorded)"
    )


def test_hash_of_names__differs_with_any_name_and_not_with_their_order() -> None:
    assert hash_of_names(["a", "b"]) == hash_of_names(["b", "a"])
    assert len({hash_of_names(names) for names in (["a"], ["a", "b"], ["ab"], [])}) == 4


def test_basis_of__some_images_of_all(toy: Path) -> None:
    tree = Cityscapes(toy / "cityscapes", "val")
    basis = basis_of(tree, range(2))
    assert (basis.images, basis.there, basis.split) == (2, len(tree), "val")
    assert basis.names == hash_of_names([tree.basename(0), tree.basename(1)])
    assert read_basis(basis_json(basis)) == basis


@pytest.mark.parametrize("value", [-1, True, "4", 4.5, None], ids=repr)
def test_read_basis__no_count_is_not_known(value: object) -> None:
    assert read_basis({"images": value, "images_there": value}) == Basis()
