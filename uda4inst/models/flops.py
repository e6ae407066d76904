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
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from uda4inst.structures import Size


def count_flops(network: nn.Module, size: Size, *, images: int = 1, channels: int = 3) -> int:
    """Return the operations of a forward in evaluation mode.

    Nothing is changed, and as a rule nothing computed: tensors of shapes alone go through the
    network. One that asks for a value on its way, as Mask2Former of older `transformers` does,
    does the forward.

    Args:
        network: on the CPU; takes images (B, C, H, W).
        size: (height, width).
        images: how many at once.
        channels: of the images.
    """
    shape = (images, channels, *size)
    training = network.training
    network.eval()
    try:
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                return _counted(network, shape)
        except DataDependentOutputException:
            return _counted(network, shape)
    finally:
        network.train(training)


def _counted(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the operations of a forward; attention as plain products, which the counter knows."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        network(torch.zeros(shape))
    return counter.get_total_flops()
