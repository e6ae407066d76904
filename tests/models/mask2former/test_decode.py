from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from uda4inst.detections import Detections
from uda4inst.models.mask2former import decode as decode_module
from uda4inst.models.mask2former.decode import decode, full_masks, with_masks
from uda4inst.models.mask2former.prediction import Prediction


@torch.no_grad()
def slow_decode(prediction: Prediction, image: int, top_k: int) -> list[tuple]:
    """Every (query, class) pair by itself, best first: (score, class score, label, mask)."""
    found = []
    height, width = prediction.size
    probability = prediction.class_logits[-1, image].softmax(-1)
    for query, logits in enumerate(prediction.mask_logits[-1][image]):
        full = F.interpolate(
            logits[None, None], size=prediction.padded_size, mode="bilinear", align_corners=False
        )[0, 0, :height, :width]
        inside = full > 0
        mean = full[inside].sigmoid().mean() if inside.any() else torch.zeros(())
        for label in range(8):
            found.append((float(probability[query, label]), float(mean), label, inside))
    found.sort(key=lambda each: -each[0])
    return sorted(found[:top_k], key=lambda each: -each[0] * each[1])


@pytest.mark.parametrize("size", [(64, 96), (50, 75)], ids=["whole", "padded"])
@pytest.mark.parametrize("top_k", [7, 100], ids=["some", "all 48"])
def test_decode__equals_a_slow_loop(make_prediction, size, top_k) -> None:
    prediction = make_prediction(size)

    detections = decode(prediction, top_k=top_k)

    for image, own in enumerate(detections):
        expected = slow_decode(prediction, image, top_k)
        assert len(own) == len(expected) == min(top_k, 48)
        assert own.size == size
        assert own.labels.tolist() == [label for _, _, label, _ in expected]
        torch.testing.assert_close(own.class_scores, torch.tensor([c for c, _, _, _ in expected]))
        torch.testing.assert_close(own.mask_scores, torch.tensor([m for _, m, _, _ in expected]))
        assert torch.equal(full_masks(own), torch.stack([mask for _, _, _, mask in expected]))


def test_decode__scores_fall(make_prediction) -> None:
    scores = decode(make_prediction((64, 64), images=1))[0].scores

    assert torch.equal(scores, scores.sort(descending=True).values)


def test_decode__empty_mask_scores_zero() -> None:
    prediction = Prediction(torch.randn(1, 1, 3, 9), (torch.full((1, 3, 8, 8), -5.0),), (32, 32))

    detections = decode(prediction)[0]

    assert torch.equal(detections.mask_scores, torch.zeros(24))
    assert not full_masks(detections).any()


def test_decode__chunks_change_nothing(make_prediction, monkeypatch) -> None:
    prediction = make_prediction((50, 75))
    whole = decode(prediction, top_k=4)

    monkeypatch.setattr(decode_module, "_CHUNK_PIXELS", {"cpu": 1})
    parts = decode(prediction, top_k=4)

    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(full_masks(one), full_masks(other))


@pytest.mark.parametrize("top_k", [1, 3, 5, 48])
def test_decode__makes_the_masks_of_detected_queries_alone(make_prediction, top_k) -> None:
    prediction = make_prediction((50, 75))
    everything = decode(prediction)
    for image, own in enumerate(decode(prediction, top_k=top_k)):
        queries = prediction.mask_logits[-1].shape[1]
        assert own.masks is not None
        assert own.mask_logits is not None
        assert len(own.masks) == len(own.mask_logits) == min(top_k, queries)
        best = everything[image].class_scores.topk(top_k).indices
        order = everything[image].scores[best].argsort(descending=True, stable=True)
        assert torch.equal(own.scores, everything[image].scores[best[order]])
        assert torch.equal(full_masks(own), full_masks(everything[image])[best[order]])


def test_decode__keeps_what_upsampling_again_gives(make_prediction) -> None:
    for own in decode(make_prediction((50, 75)), top_k=4):
        again = with_masks(own.without_masks())
        assert own.without_masks().masks is None
        assert torch.equal(cast("Tensor", again.masks), cast("Tensor", own.masks))


def test_decode__holds_nothing_of_the_prediction(make_prediction) -> None:
    prediction = make_prediction((64, 64), images=1)
    (own,) = decode(prediction)
    held = own.mask_logits
    assert held is not None
    held.zero_()
    assert (prediction.mask_logits[-1] != 0).any()


def test_decode__takes_bf16_predictions(make_prediction) -> None:
    exact = make_prediction((64, 64), images=1)
    rounded = Prediction(
        exact.class_logits[-1:].bfloat16(), (exact.mask_logits[-1].bfloat16(),), exact.size
    )

    scores = decode(rounded)[0].scores

    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, decode(exact)[0].scores, rtol=0.05, atol=0.01)


def test_full_masks__of_nothing_is_empty() -> None:
    detections = Detections(
        labels=torch.zeros(0, dtype=torch.int64),
        class_scores=torch.zeros(0),
        mask_scores=torch.zeros(0),
        size=(32, 32),
        mask_logits=torch.zeros(5, 8, 8),
        query=torch.zeros(0, dtype=torch.int64),
    )

    assert full_masks(detections).shape == (0, 32, 32)


def test_full_masks__returns_masks_that_are_there() -> None:
    masks = torch.rand(2, 6, 7) > 0.5
    detections = Detections(
        labels=torch.zeros(2, dtype=torch.int64),
        class_scores=torch.zeros(2),
        mask_scores=torch.zeros(2),
        size=(6, 7),
        masks=masks,
    )

    assert torch.equal(full_masks(detections), masks)


def test_detections__refuse_masks_that_are_none_of_theirs() -> None:
    one, masks = torch.zeros(1, dtype=torch.int64), torch.zeros(2, 6, 7, dtype=torch.bool)
    scores = torch.zeros(1)
    with pytest.raises(ValueError, match="neither"):
        Detections(one, scores, scores, (6, 7))
    with pytest.raises(ValueError, match="a mask each, got 2"):
        Detections(one, scores, scores, (6, 7), masks=masks)
    with pytest.raises(ValueError, match=r"bool of shape \(2, 6, 8\)"):
        Detections(one, scores, scores, (6, 8), query=one, masks=masks)
    assert len(Detections(one, scores, scores, (6, 7), query=one, masks=masks)) == 1
