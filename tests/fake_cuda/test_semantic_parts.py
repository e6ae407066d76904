"""Parts of semantic methods on the stand-in: nothing crosses, and values are the host's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fake_cuda.device import Device
from torch import Tensor

from uda4inst.structures import SemanticMap
from uda4inst.uda.adversarial import adversarial_loss, discriminator_loss
from uda4inst.uda.class_thresholds import class_thresholded
from uda4inst.uda.contrast import position_contrast, prototype_contrast
from uda4inst.uda.edges import boundary_band
from uda4inst.uda.feature_distance import feature_distance, thing_positions

pytestmark = pytest.mark.fake_cuda

Part = Callable[[Tensor, Tensor], Tensor]  # of logits (2, 19, 6, 8) and ids (2, 12, 16)


def maps(ids: Tensor) -> list[SemanticMap]:
    return [SemanticMap(one) for one in ids]


PARTS: dict[str, Part] = {
    "feature distance": lambda x, ids: feature_distance(
        x, x.flip(0), thing_positions(maps(ids), (6, 8), padded=(13, 16))
    ),
    "positions' contrast": lambda x, _: position_contrast(x, x.flip(0)),
    "prototypes' contrast": lambda x, ids: prototype_contrast(x, x.flip(0), maps(ids)),
    "thresholds an image": lambda x, _: class_thresholded(x).ids,
    "thresholds a batch": lambda x, _: class_thresholded(x, over="batch", valid=x[:, 0] > 0).ids,
    "boundary": lambda _, ids: boundary_band(ids == 13),
    "adversarial": lambda x, _: adversarial_loss(x) + discriminator_loss(x, x.flip(0)),
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_semantic_parts__nothing_is_read_back(part: Part, gpu: Device) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 19, 6, 8, generator=generator)
    choice = torch.tensor([0, 11, 13, 255], dtype=torch.uint8)
    blocks = choice[torch.randint(4, (2, 3, 4), generator=generator)]
    ids = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    expected = part(logits, ids)
    on_device = logits.to("cuda"), ids.to("cuda")
    gpu.clear()
    found = part(*on_device)
    assert gpu.crossings == []
    torch.testing.assert_close(found.cpu(), expected)
