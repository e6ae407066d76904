"""Less kept for the backward pass: single tensors made again, and whole modules computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class _Recipe(NamedTuple):
    """How a tensor that was not kept is found in what is made again."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


class Remade(torch.autograd.graph.saved_tensors_hooks):
    """Inside it, one tensor is not kept for the backward pass but made again there.

    For what is large and cheap: an activation, samples, a mask. What `make` reads is kept instead,
    so it should be kept anyway, or small. It is called once for each time the tensor would have
    been kept, without gradients and without autocast.

    Args:
        tensor: what not to keep; also recognised by views of it.
        make: returns it again: same values, same memory layout.
    """

    def __init__(self, tensor: Tensor, make: Callable[[], Tensor]) -> None:
        memory = tensor.untyped_storage()._cdata

        def pack(kept: Tensor) -> Tensor | _Recipe:
            if kept.untyped_storage()._cdata != memory:
                return kept
            return _Recipe(kept.shape, kept.stride(), int(kept.storage_offset()))

        def unpack(kept: Any) -> Tensor:
            if not isinstance(kept, _Recipe):
                return kept
            with torch.no_grad():
                return make().as_strided(kept.shape, kept.stride, kept.offset)

        super().__init__(pack, unpack)


class Recomputed(nn.Module):
    """A module that keeps its inputs alone, and is computed again in the backward pass.

    It adopts the module's parts under the same names. Random draws are repeated, so that drop path
    drops what it dropped; running statistics of batch norms are not moved a second time. Without
    gradients it is the module.

    Args:
        module: has no weights of its own beside those of its parts.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        assert not own, "weights of the module itself would lose their names"
        for name, part in module.named_children():
            self.add_module(name, part)
        self._whole = (module,)  # in a tuple: not registered, its parts have their names already

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return what the module does."""
        (module,) = self._whole
        if not torch.is_grad_enabled():
            return module(*arguments, **named)
        return checkpoint(
            module,
            *arguments,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _fixed_statistics(module)),
            **named,
        )


@contextmanager
def _fixed_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of the batch norms in a module as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # what is kept for the backward pass must be what was kept before, so they are still there
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
