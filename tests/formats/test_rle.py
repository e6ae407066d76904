"""Run-length codes: equal to drawing the mask, and safe against what is no code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from uda4inst.formats.rle import foreground, rle_decode, rle_encode, rle_of_lengths, run_lengths
from uda4inst.formats.run_starts import encode_runs, run_starts


@pytest.mark.parametrize("seed", range(5))
def test_foreground__lists_the_pixels_of_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        mask = rng.random(rng.integers(1, 40, size=2)) < rng.random()
        np.testing.assert_array_equal(
            foreground(run_lengths(rle_encode(mask))), np.flatnonzero(mask.T)
        )


def test_foreground__long_runs() -> None:
    mask = np.zeros((700, 900), dtype=bool)
    mask[:, 1:400] = True
    mask[10:600, 500:800] = True
    np.testing.assert_array_equal(foreground(run_lengths(rle_encode(mask))), np.flatnonzero(mask.T))


@pytest.mark.parametrize(("value", "lengths"), [(False, [15]), (True, [0, 15])])
def test_run_lengths__uniform_mask(value: bool, lengths: list[int]) -> None:
    mask = np.full((3, 5), value)
    assert run_lengths(rle_encode(mask)).tolist() == lengths


@pytest.mark.parametrize(
    "counts", ["", "abc", "~~~~~", "22222", "2", "é", " ", "2P", "oooooooooooooooo0"]
)
def test_run_lengths__rejects_what_is_no_code(counts: str) -> None:
    with pytest.raises(ValueError, match=r"must fill 2x2 pixels"):
        run_lengths({"size": [2, 2], "counts": counts})


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.array([[True, True, False], [False, True, False]]), id="some"),
        pytest.param(np.zeros((3, 4), dtype=bool), id="none"),
        pytest.param(np.ones((4, 3), dtype=bool), id="all"),
        pytest.param(np.random.default_rng(0).random((50, 80)) < 0.5, id="noise"),
    ],
)
def test_rle__survives_a_round_trip_through_json(mask: NDArray[np.bool_]) -> None:
    code = json.loads(json.dumps(rle_encode(mask)))
    decoded = rle_decode(code)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, mask)


def test_rle_encode__takes_tensors_and_keeps_height_before_width() -> None:
    mask = torch.tensor([[True, False, False], [True, True, False]])
    assert rle_encode(mask) == rle_encode(mask.numpy())
    assert rle_encode(mask)["size"] == [2, 3]


@pytest.mark.parametrize("counts", ["", "zzz", "5", "26", "o0", "é", "!"])
def test_rle_decode__rejects_counts_that_do_not_fill_the_size(counts: str) -> None:
    with pytest.raises(ValueError, match="must fill 2x2 pixels"):
        rle_decode({"size": [2, 2], "counts": counts})


def test_rle_decode__rejects_a_size_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"must have the size \[height, width\]"):
        rle_decode({"size": [2], "counts": "22"})


def test_rle_of_lengths__undoes_run_lengths() -> None:
    code = rle_encode(np.random.default_rng(0).random((50, 80)) < 0.5)
    assert rle_of_lengths(run_lengths(code).tolist(), (50, 80)) == code


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (8, 8), (37, 53), (64, 64), (70, 130)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_encode_runs__equals_each_masks_code(size: tuple[int, int], share: float) -> None:
    masks = torch.rand(4, *size, generator=torch.Generator().manual_seed(0)) < share
    assert encode_runs(run_starts(masks).numpy(), size) == [rle_encode(mask) for mask in masks]


def test_run_starts__go_down_the_columns() -> None:
    mask = torch.tensor([[False, True], [True, True]])
    assert run_starts(mask[None]).tolist() == [[0b10010]]  # on at pixel 1, off past the last


def test_encode_runs__of_nothing_is_nothing() -> None:
    masks = torch.zeros(0, 3, 4, dtype=torch.bool)
    assert encode_runs(run_starts(masks).numpy(), (3, 4)) == []
