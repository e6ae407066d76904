"""Bytes that one operation reads from a device's memory and writes to it.

Every operation by itself, as if nothing stayed in a cache between two of them. Within one, each
value counts once: a bias that is broadcast is read once and not once a row, a gather reads what it
takes, and what is overwritten is not read.
"""

from __future__ import annotations

import math
from typing import Any, Final

from torch import Tensor
from torch.utils._pytree import tree_leaves

# Questions, fresh memory, and what is a view without saying so.
_IDLE: Final = (
    "prim::",
    "aten::empty",
    "aten::new_empty",
    "aten::_unsafe_view",
    "aten::detach",
    "aten::lift_fresh",
)
# Fill their first argument without a look at it.
_OVERWRITE: Final = frozenset(
    {"copy_", "_foreach_copy_", "fill_", "zero_", "_foreach_zero_", "normal_", "uniform_"}
)
# Take shape and type of their first argument alone.
_ASK: Final = frozenset(
    {"new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "rand_like"}
)
# Read of their first argument as much as they return.
_TAKE: Final = frozenset({"index", "index_select", "gather", "embedding"})
# Change of their first argument as much as the argument of this place holds. `index_put` is what
# the gradient of an index calls on tensors without values; a device has `index_put_` on zeros.
_PUT: Final = {
    "index_put": 2,
    "index_put_": 2,
    "_index_put_impl_": 2,
    "index_copy_": 3,
    "scatter_": 3,
    "scatter_add_": 3,
}
# Could change the gradients too, if they were scaled.
_STEP: Final = "_fused_adamw_"


def bytes_of(tensor: Tensor) -> int:
    """Return the bytes a tensor covers: what is expanded lies in memory once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    if tensor.numel() == 0:
        return 0
    return math.prod(size for size, stride in sizes if stride != 0) * tensor.element_size()


def launches(func: Any) -> bool:
    """Whether the device has work to do: not for views, questions and fresh memory."""
    if func.name().startswith(_IDLE):
        return False
    returns = func._schema.returns
    return not any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def traffic(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Return the bytes that an operation of torch's dispatcher moves on the device.

    Args:
        func: the operation.
        args: what it was called with.
        kwargs: the same, by name.
        result: what it returned.
    """
    name = func.name().removeprefix("aten::").partition(".")[0]
    given = [
        (argument, args[place] if place < len(args) else kwargs.get(argument.name))
        for place, argument in enumerate(func._schema.arguments)
    ]
    made = _on_device(result)
    if name == "index_put":  # see `_PUT`
        made = []
    moved = 0
    for place, (argument, value) in enumerate(given):
        tensors = _on_device(value)
        size = sum(map(bytes_of, tensors))
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        if is_written:
            here = {id(tensor) for tensor in tensors}
            made = [tensor for tensor in made if id(tensor) not in here]
        if place == 0 and name in _PUT:
            moved += sum(map(bytes_of, _on_device(args[_PUT[name]])))
        elif place == 0 and name == "index_fill_":
            moved += size * args[2].numel() // args[0].shape[args[1]]
        elif place == 0 and name in _TAKE:
            moved += sum(map(bytes_of, made))
        elif place == 0 and name in _ASK:
            continue
        elif not is_written or argument.kwarg_only or name in _OVERWRITE:
            moved += size
        else:
            moved += size if (name, argument.name) == (_STEP, "grads") else 2 * size
    return moved + sum(map(bytes_of, made))


def _on_device(values: Any) -> list[Tensor]:
    """Return the device's tensors among values of any kind."""
    return [t for t in tree_leaves(values) if isinstance(t, Tensor) and t.device.type == "cuda"]
