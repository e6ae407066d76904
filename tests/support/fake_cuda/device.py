"""The tensors and what watches them.

A tensor of the device holds its values in an ordinary tensor that nobody else sees; a mode takes
every operation, computes it on the CPU and writes down what a GPU would have had to wait for.
Autograd and autocast lie above the mode, so they are torch's own for CUDA. Products and
convolutions round their factors where TF32 is switched on.
"""

from __future__ import annotations

import collections
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from fake_cuda import library

aten = torch.ops.aten

# Operations whose result has a shape that depends on values: a GPU is waited for.
_SHAPED_BY_VALUES: Final = frozenset(
    {
        "aten::nonzero",
        "aten::masked_select",
        "aten::_unique2",
        "aten::unique_dim",
        "aten::unique_consecutive",
        "aten::bincount",
        "aten::repeat_interleave.Tensor",
    }
)
_READ: Final = frozenset({"aten::_local_scalar_dense", "aten::equal", "aten::item"})
# Operations that take their list of tensors from one device, scalars too.
_STRICT: Final = frozenset({"aten::cat", "aten::stack"})
_COPIES: Final = frozenset({"aten::_to_copy", "aten::copy_", "aten::_copy_from"})
_PRODUCTS: Final = (
    "aten::mm",
    "aten::bmm",
    "aten::addmm",
    "aten::baddbmm",
    "aten::_addmm_activation",
)
_PROJECT: Final = f"{Path(__file__).parents[3]}/"
_ELSEWHERE: Final = (f"{_PROJECT}.", str(Path(__file__).parent))  # environments, and this folder
_INDEXING: Final = ("aten::index.Tensor", "aten::index_put", "aten::_index_put_impl")


class MixedDevicesError(RuntimeError):
    """An operation got tensors of the host and of the device."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Something that passed between host and device, or made the host wait.

    Args:
        kind: "to host", "to device", each blocking, or with ", asynchronous"; "read" a value;
            "shape" that depends on values.
        size: bytes.
        operation: torch's name of it.
        place: innermost line of the project, "file:line function".
    """

    kind: str
    size: int
    operation: str
    place: str

    @property
    def waits(self) -> bool:
        """Whether the host waits for the device."""
        return not self.kind.endswith("asynchronous")

    def __str__(self) -> str:
        """One line."""
        return f"{self.kind}, {self.size:,} B, {self.operation} at {self.place}"


class DeviceTensor(Tensor):
    """A tensor that says "cuda"."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        made: DeviceTensor = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device("cuda", 0),
        )
        made.held = held
        return made

    __torch_function__ = cast("Any", torch._C._disabled_torch_function_impl)

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{func} outside the device's mode")

    def tolist(self) -> Any:
        """Return the values, as torch does: by a copy to the host."""
        return self.cpu().tolist()

    def __repr__(self, *, tensor_contents: object = None) -> str:
        """Return what it is; its values stay where they are."""
        del tensor_contents
        return f"DeviceTensor({tuple(self.shape)}, {self.dtype})"


class Device(TorchDispatchMode):
    """One GPU, while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        library.load()
        self.crossings: list[Crossing] = []
        self.operations: collections.Counter[str] = collections.Counter()
        self.under_way: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Device:
        global _current
        _patch_pinning()
        _current = self
        # Numbers given in Python become a tensor of the host first, which is then copied.
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *fault: Any) -> None:
        global _current
        _current = None
        torch._C._set_only_lift_cpu_tensors(False)
        super().__exit__(*fault)

    def clear(self) -> None:
        """Forget what was written down."""
        self.crossings.clear()
        self.operations.clear()

    def arrive(self, count: int | None = None) -> None:
        """Let the oldest copies to the host arrive; all if not told."""
        count = len(self.under_way) if count is None else count
        for to, values in self.under_way[:count]:
            to.copy_(values)
        del self.under_way[:count]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.name()
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = [t for t in tensors if isinstance(t, DeviceTensor)]
        wanted = kwargs.get("device")
        makes = wanted is not None and torch.device(wanted).type == "cuda"
        if kwargs.get("pin_memory"):
            kwargs.pop("pin_memory")
            return _pinned(func(*args, **kwargs))
        if not on_device and not makes:
            return func(*args, **kwargs)
        if not _is_view(func):
            self.operations[name] += 1
        if name.startswith(tuple(_COPIES)):
            return self._copy(func, args, kwargs, wanted)
        self._judge(name, args, tensors, on_device)
        if makes:
            kwargs["device"] = torch.device("cpu")
        held = _short_factors if _takes_short_factors(name) else _held
        out = func(*tree_map(held, args), **tree_map(_held, kwargs))
        if name in _READ:
            return out
        out = tree_map(lambda o: DeviceTensor(o) if isinstance(o, Tensor) else o, out)
        return return_and_correct_aliasing(func, args, kwargs, out) if on_device else out

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any], wanted: Any) -> Any:
        """Do an operation that may pass between the sides."""
        name, quick = func.name(), bool(kwargs.get("non_blocking"))
        if name.startswith("aten::copy_"):
            to, source, *rest = args
            quick = quick or bool(rest and rest[0])
            if isinstance(to, DeviceTensor) and isinstance(source, DeviceTensor):
                to.held.copy_(source.held)
            elif isinstance(to, DeviceTensor):
                self._to_device(name, source, quick)
                to.held.copy_(source)
            else:
                self._to_host(name, to, source.held, quick)
            return to
        source = args[0]
        kwargs.pop("device", None)
        host = torch.device("cpu")
        if isinstance(source, DeviceTensor):
            moved = func(source.held, *args[1:], **kwargs, device=host)
            if wanted is None or torch.device(wanted).type == "cuda":
                return DeviceTensor(moved)
            to = torch.empty_like(moved)
            self._to_host(name, to, moved, quick)
            return to
        self._to_device(name, source, quick)
        return DeviceTensor(func(source, *args[1:], **kwargs, device=host))

    def _to_device(self, name: str, source: Tensor, quick: bool) -> None:
        """Write down a copy to the device."""
        # From memory that can be paged out the copy is staged, and the host waits for it.
        kind = "to device, asynchronous" if quick and source.is_pinned() else "to device"
        self._write_down(kind, name, source)

    def _to_host(self, name: str, to: Tensor, values: Tensor, quick: bool) -> None:
        """Copy to the host, now or later."""
        if not quick:
            self.arrive()
            to.copy_(values)
            self._write_down("to host", name, to)
            return
        _poison(to)
        self.under_way.append((to, values.clone()))
        self._write_down("to host, asynchronous", name, to)

    def _judge(
        self, name: str, args: Any, tensors: Sequence[Tensor], on_device: Sequence[Tensor]
    ) -> None:
        """Refuse mixed devices; write down what waits for the device."""
        from_host = [t for t in tensors if not isinstance(t, DeviceTensor)]
        if name.startswith(_INDEXING):
            indices = [i for i in args[1] if isinstance(i, Tensor)]
            for index in indices:
                if not isinstance(index, DeviceTensor):
                    self._write_down("to device", name, index)
                if index.dtype in (torch.bool, torch.uint8):
                    self._write_down("shape", name, index)
            from_host = [t for t in from_host if not any(t is i for i in indices)]
        if any(t.ndim > 0 or name in _STRICT for t in from_host) and on_device:
            shapes = [f"{tuple(t.shape)} on {t.device}" for t in tensors]
            raise MixedDevicesError(f"{name} got {', '.join(shapes)} at {_place()}")
        if name in _READ:
            self.arrive()
            self._write_down("read", name, on_device[0])
        elif name in _SHAPED_BY_VALUES:
            self.arrive()
            self._write_down("shape", name, on_device[0])

    def _write_down(self, kind: str, name: str, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        self.crossings.append(Crossing(kind, size, name, _place()))


class Event:
    """Stands for `torch.cuda.Event`: what was on its way when it was recorded."""

    def __init__(self, **_: Any) -> None:
        self.covers: list[tuple[Tensor, Tensor]] = []

    def record(self, *_: Any) -> None:
        """Remember what is on its way."""
        self.covers = [] if _current is None else list(_current.under_way)

    def synchronize(self) -> None:
        """Let it arrive."""
        if _current is not None:
            waiting = {id(pair) for pair in self.covers}
            _current.arrive(sum(id(pair) in waiting for pair in _current.under_way))

    def query(self) -> bool:
        """Whether it has arrived."""
        waiting = {id(pair) for pair in self.covers}
        return _current is None or not any(id(pair) in waiting for pair in _current.under_way)

    def elapsed_time(self, other: object) -> float:
        """Return milliseconds: none pass here."""
        del other
        return 0.0


_current: Device | None = None
_pinned_storages: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def synchronize() -> None:
    """Let everything arrive."""
    if _current is not None:
        _current.arrive()


def _held(value: Any) -> Any:
    return value.held if isinstance(value, DeviceTensor) else value


def _takes_short_factors(name: str) -> bool:
    """Whether the operation's factors have 10 bits now, as products have in TF32."""
    if name.startswith(_PRODUCTS):
        return torch.backends.cuda.matmul.fp32_precision == "tf32"
    cudnn: Any = torch.backends.cudnn
    return name.startswith("aten::convolution") and cudnn.conv.fp32_precision == "tf32"


def _short_factors(value: Any) -> Any:
    """Return the values held, rounded to TF32's 10 bits."""
    held = _held(value)
    if not isinstance(value, DeviceTensor) or held.dtype != torch.float32:
        return held
    bits = held.contiguous().view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def _is_view(func: Any) -> bool:
    """Whether the operation only looks at memory in another way."""
    returns = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _pinned(tensor: Tensor) -> Tensor:
    """Mark memory as one that a copy can be made from while the host goes on."""
    storage = tensor.untyped_storage()
    _pinned_storages[storage._cdata] = storage
    return tensor


def _patch_pinning() -> None:
    """Let tensors be pinned, from any thread."""

    def pin_memory(self: Tensor, device: object = None) -> Tensor:
        del device
        return self if self.is_pinned() else _pinned(self.clone())

    def is_pinned(self: Tensor, device: object = None) -> bool:
        del device
        return self.untyped_storage()._cdata in _pinned_storages

    tensor: Any = Tensor
    tensor.pin_memory, tensor.is_pinned = pin_memory, is_pinned
    cast("Any", torch.cuda).Event = Event


def _poison(tensor: Tensor) -> None:
    """Fill memory with what must not be read before the copy has arrived."""
    if tensor.dtype.is_floating_point:
        tensor.fill_(float("nan"))
    elif tensor.dtype == torch.bool:
        tensor.fill_(True)
    else:
        tensor.fill_(torch.iinfo(tensor.dtype).min if tensor.dtype.is_signed else 251)


def _place() -> str:
    """Return the innermost line of the project that asked for it."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PROJECT) and not file.startswith(_ELSEWHERE):
            return f"{file.removeprefix(_PROJECT)}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "outside the project"
