"""Factories for drawn id maps, detections and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from uda4inst.detections import Detections
from uda4inst.structures import InstanceMap, Sample

Draw = Callable[..., InstanceMap]


def draw_instances(*rows: str, labels: Sequence[int]) -> InstanceMap:
    """Draw an id map: '.' background, '#' ignore, 'A' the first instance and so on."""
    numbers = {".": 0, "#": -1} | {chr(ord("A") + k): k + 1 for k in range(26)}
    ids = torch.tensor([[numbers[c] for c in row] for row in rows], dtype=torch.int32)
    return InstanceMap(ids, torch.tensor(labels, dtype=torch.int64))


def draw_detections(
    *masks: Sequence[str], labels: Sequence[int], scores: Sequence[float]
) -> Detections:
    """Draw one mask per detection, 'X' where it is."""
    drawn = torch.tensor([[[c == "X" for c in row] for row in mask] for mask in masks])
    return Detections(
        labels=torch.tensor(labels),
        class_scores=torch.tensor(scores, dtype=torch.float32),
        mask_scores=torch.ones(len(labels)),
        size=(drawn.shape[1], drawn.shape[2]),
        masks=drawn,
    )


def make_sample(*rows: str, labels: Sequence[int], sample_id: str = "s") -> Sample:
    """Draw a source sample whose image holds different values everywhere."""
    instances = draw_instances(*rows, labels=labels)
    pixels = 3 * instances.ids.numel()
    image = torch.arange(1, pixels + 1).view(3, *instances.size) / pixels
    return Sample(image.float(), sample_id, "source", instances=instances)


@pytest.fixture
def instances() -> Draw:
    return draw_instances


@pytest.fixture
def detections() -> Callable[..., Detections]:
    return draw_detections


@pytest.fixture
def sample() -> Callable[..., Sample]:
    return make_sample
