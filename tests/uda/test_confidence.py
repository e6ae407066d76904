"""How sure the teacher is of each pixel, by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from uda4inst.detections import Detections
from uda4inst.models.mask2former.decode import upsample
from uda4inst.structures import InstanceMap
from uda4inst.uda import confidence as confidence_module
from uda4inst.uda.confidence import confident_pixels, confident_shares, pixel_confidence

DrawMap = Callable[..., InstanceMap]
PERSON, CAR, TRAIN = 0, 2, 5
SIZE = (4, 8)


def of_classes(*labels: int) -> Tensor:
    learned = torch.zeros(8, dtype=torch.bool)
    learned[list(labels)] = True
    return learned


def flat_detections() -> Detections:
    """Return one query that is a car (.8) or a train (.5), and one that is a person (.9).

    The first's mask probability is .9 everywhere, the second's .95.
    """
    logits = torch.tensor([log(9.0), log(19.0)])[:, None, None].expand(2, 1, 2)
    return Detections(
        labels=torch.tensor([CAR, TRAIN, PERSON]),
        class_scores=torch.tensor([0.8, 0.5, 0.9]),
        mask_scores=torch.ones(3),
        size=SIZE,
        mask_logits=logits.clone(),
        query=torch.tensor([0, 0, 1]),
    )


@pytest.mark.parametrize(
    ("learned", "background"),
    [((CAR, TRAIN), 1 - 0.8 * 0.9), ((PERSON, CAR), 1 - 0.9 * 0.95), ((), 1.0)],
    ids=["vehicles", "a person too", "nothing"],
)
def test_pixel_confidence__by_hand(learned: tuple[int, ...], background: float) -> None:
    ids = torch.zeros(SIZE, dtype=torch.int32)
    ids[0, 0], ids[0, 1], ids[0, 2] = 1, 2, -1
    labels = InstanceMap(ids, torch.tensor([CAR, TRAIN, -1]))
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[3] = False
    found = pixel_confidence(flat_detections(), labels, learned=of_classes(*learned), valid=valid)
    expected = torch.full(SIZE, background)
    expected[0, 0], expected[0, 1] = 0.8 * 0.9, 0.5 * 0.9
    expected[3] = 1
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=3e-4)


def test_pixel_confidence__of_nothing_found_is_sure_background() -> None:
    nothing = Detections(
        labels=torch.zeros(0, dtype=torch.int64),
        class_scores=torch.zeros(0),
        mask_scores=torch.zeros(0),
        size=SIZE,
        mask_logits=torch.zeros(0, 1, 2),
    )
    valid = torch.ones(SIZE, dtype=torch.bool)
    found = pixel_confidence(nothing, InstanceMap.empty(SIZE), learned=of_classes(CAR), valid=valid)
    assert (found == 1).all()


@pytest.mark.parametrize("shared", [True, False], ids=["shared queries", "a mask each"])
@pytest.mark.parametrize("chunk", [1, 10**6], ids=["mask by mask", "at once"])
def test_pixel_confidence__is_that_of_a_slow_loop(
    monkeypatch: pytest.MonkeyPatch, shared: bool, chunk: int
) -> None:
    monkeypatch.setattr(confidence_module, "_CHUNK_PIXELS", {"cpu": chunk})
    generator = torch.Generator().manual_seed(0)
    count, size = 6, (30, 45)
    detections = Detections(
        labels=torch.tensor([0, 2, 2, 5, 7, 1]),
        class_scores=torch.rand(count, generator=generator),
        mask_scores=torch.rand(count, generator=generator),
        size=size,
        mask_logits=torch.randn(4 if shared else count, 8, 12, generator=generator),
        query=torch.tensor([3, 0, 1, 0, 2, 3]) if shared else None,
    )
    ids = torch.randint(-1, count + 1, size, generator=generator).to(torch.int32)
    labels = InstanceMap(ids, detections.labels)
    valid = torch.rand(size, generator=generator) > 0.2
    learned = of_classes(2, 5, 7)
    found = pixel_confidence(detections, labels, learned=learned, valid=valid)

    assert detections.mask_logits is not None
    inside = upsample(detections.mask_logits, size).sigmoid()
    queries = [3, 0, 1, 0, 2, 3] if shared else list(range(count))
    speaks = [detections.class_scores[k] * inside[queries[k]] for k in range(count)]
    expected = torch.ones(size)
    for k in range(count):
        if learned[detections.labels[k]]:
            expected = torch.minimum(expected, 1 - speaks[k])
    for k in range(count):
        expected = torch.where(ids == k + 1, speaks[k], expected)
    expected[~valid] = 1
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=3e-4)


def test_pixel_confidence__never_looks_at_values_on_a_device() -> None:
    flat = flat_detections()
    assert flat.mask_logits is not None
    assert flat.query is not None
    detections = Detections(
        labels=flat.labels.to("meta"),
        class_scores=flat.class_scores.to("meta"),
        mask_scores=flat.mask_scores.to("meta"),
        size=SIZE,
        mask_logits=flat.mask_logits.to("meta"),
        query=flat.query.to("meta"),
    )
    labels = InstanceMap(torch.zeros(SIZE, dtype=torch.int32), torch.tensor([2, 5, 0])).to("meta")
    valid = torch.ones(SIZE, dtype=torch.bool, device="meta")
    found = pixel_confidence(detections, labels, learned=of_classes(CAR).to("meta"), valid=valid)
    assert found.shape == SIZE
    assert confident_shares(labels, found, above=0.9).shape == (3,)


def test_confident_shares__by_hand(instances: DrawMap) -> None:
    drawn = instances("AAAAB", "#..BB", labels=[2, 5, 1])
    values = [[1.0, 0.75, 0.5, 0.25, 0.5], [1.0, 1.0, 1.0, 0.75, 0.875]]
    confidence = torch.tensor(values, dtype=torch.float16)
    shares = confident_shares(drawn, confidence, above=0.5)  # exceeds: .5 itself does not
    torch.testing.assert_close(shares, torch.tensor([2 / 4, 2 / 3, 0.0]))


def test_confident_pixels__by_hand() -> None:
    confidence = torch.tensor([[0.25, 0.5, 0.75]], dtype=torch.float16)
    assert confident_pixels(confidence, from_value=0.5).tolist() == [[False, True, True]]
