"""How many operations a forward takes, counted without doing them.

Counted are the multiply-adds of convolutions, linear layers and products of matrices, attention's
among them, and each is two operations. Not counted are additions of a bias, norms, activations,
softmax, resizing and the sampling of deformable attention: a few per cent. Papers count otherwise
(some one a multiply-add, some also what is left out here), so numbers of different papers are not
comparable without their rule.
"""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from uda4inst.structures import Size


def count_flops(network: nn.Module, size: Size, *, images: int = 1, channels: int = 3) -> int:
    """Return the operations of a forward in evaluation mode.

    Nothing is computed and nothing changed: tensors of shapes alone go through the network.

    Args:
        network: on the CPU; takes images (B, C, H, W).
        size: (height, width).
        images: how many at once.
        channels: of the images.
    """
    training = network.training
    network.eval()
    counter = FlopCounterMode(display=False)
    try:
        # attention as plain products, which the counter knows on every device
        with (
            FakeTensorMode(allow_non_fake_inputs=True),
            sdpa_kernel(SDPBackend.MATH),
            torch.no_grad(),
            counter,
        ):
            network(torch.zeros(images, channels, *size))
    finally:
        network.train(training)
    return counter.get_total_flops()
