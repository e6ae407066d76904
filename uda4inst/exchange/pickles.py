"""Pickles of weights, read without running anything of them.

A pickle is a program. This reads it operation by operation and knows those alone that make numbers,
texts, lists, tuples, dicts, arrays of numpy and tensors of torch on the CPU; whatever else it would
call is an error that names it. No other module's function is looked up, and time and memory follow
from the file's size.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.reading import read_bytes

MAX_PICKLE: Final = 2**32  # the largest published one has 0.9 GiB
MAX_OPERATIONS: Final = 2**22  # those of a Swin-L are about 20,000
_KEYS: Final = (str, int, float, bool, type(None))
_NUMBERS: Final = re.compile(r"[<>=|]?(?:[fiu][1248]|b1|\?)")
_KINDS: Final = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_pickle(path: Path) -> Any:
    """Return the value of a pickle of weights.

    Raises:
        OSError: as `uda4inst.reading.open_regular`.
        ValueError: it is no whole pickle, or holds something else than weights and plain values.
    """
    return parse_pickle(read_bytes(path, limit=MAX_PICKLE))


def parse_pickle(data: bytes) -> Any:
    """Return the value of a pickle's bytes.

    Raises:
        ValueError: as `read_pickle`.

    Example:
        >>> import pickle
        >>> parse_pickle(pickle.dumps({"model": {"bias": [1, 2.5]}}))
        {'model': {'bias': [1, 2.5]}}
    """
    return _Machine(_Budget(len(data))).run(io.BytesIO(data))


class _Budget:
    """What a file of some size may cost: operations, and bytes that they make beside its own.

    Args:
        size: of the file, bytes.
    """

    def __init__(self, size: int) -> None:
        self._bytes = 2 * size + 2**16  # texts that are bytes made bytes, then arrays of them
        self._operations = MAX_OPERATIONS

    def spend(self, size: int) -> None:
        """Take so many bytes."""
        self._bytes -= size
        if self._bytes < 0:
            raise ValueError("it makes more of its bytes than there are: the same ones many times")

    def operate(self) -> None:
        """Take an operation."""
        self._operations -= 1
        if self._operations < 0:
            raise ValueError(f"more than {MAX_OPERATIONS:,} operations")


class _Named:
    """Something of a module that a pickle names; never the thing itself."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Dtype:
    """A type of numbers; its byte order comes after it was made."""

    def __init__(self, name: Any) -> None:
        if not (isinstance(name, str) and _NUMBERS.fullmatch(name)):
            raise ValueError(f"an array of {str(name)[:40]}, which are no numbers")
        self.value: np.dtype[Any] = np.dtype(name)


class _Machine:
    """Runs a pickle's operations on a stack of values.

    Args:
        budget: what it may cost, with the pickles inside it.
        stored: by key, the kinds of storage that follow the pickle; None where none may.
    """

    def __init__(self, budget: _Budget, stored: dict[str, torch.dtype] | None = None) -> None:
        self._budget = budget
        self._stored = stored
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        """Return the value of the pickle at a file's place, which is then behind it."""
        try:
            with warnings.catch_warnings():  # of escapes that no text of Python's has
                warnings.simplefilter("ignore")
                return self._run(file)
        except (IndexError, KeyError) as error:
            raise ValueError("an operation without its values") from error
        except (TypeError, OverflowError, MemoryError, RuntimeError) as error:
            raise ValueError(f"an operation on values of another kind: {error}") from error

    def _run(self, file: io.BytesIO) -> Any:
        for operation, argument, _ in pickletools.genops(file):
            self._budget.operate()
            if operation.name == "STOP":
                return self._stack.pop()
            self._do(operation.name, argument)
        raise ValueError("no end")

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        if _VALUES.fullmatch(name):
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"the operation {name}, which weights have no use for")

    def _popped(self) -> list[Any]:
        """Take off what lies above the last mark."""
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _last(self, count: int) -> list[Any]:
        """Take off the last values."""
        values = self._stack[-count:]
        if len(values) < count:
            raise IndexError
        del self._stack[-count:]
        return values

    def _fill(self, pairs: list[Any]) -> None:
        """Put keys and values into the dict on top."""
        into = self._stack[-1]
        if type(into) not in (dict, OrderedDict):
            raise ValueError("entries of something that is no dict")
        into.update(_pairs(pairs))

    def _extend(self, values: list[Any]) -> None:
        into = self._stack[-1]
        if type(into) is not list:
            raise ValueError("entries of something that is no list")
        into.extend(values)

    def _name(self, module: Any, name: Any) -> None:
        whole = f"{module}.{name}"
        kind = whole.removeprefix("torch.") if whole.startswith("torch.") else ""
        if whole not in _CALLS and whole != "numpy.ndarray" and kind not in _KINDS:
            raise ValueError(f"a call of {whole[:80]}, which is no part of weights")
        self._stack.append(_Named(whole))

    def _reduce(self) -> None:
        called, arguments = self._last(2)
        if not (isinstance(called, _Named) and called.name in _CALLS):
            raise ValueError("a call of something that is no function of numpy or torch")
        if type(arguments) is not tuple:
            raise ValueError("a call without its arguments")
        self._stack.append(_CALLS[called.name](self._budget, *arguments))

    def _build(self) -> None:
        built, state = self._last(2)
        if isinstance(built, _Dtype):
            if state[1] not in ("<", ">", "=", "|"):
                raise ValueError("an unknown order of bytes")
            built.value = built.value.newbyteorder(state[1])
        elif type(built) is np.ndarray:
            _set_array(self._budget, built, *state)
        elif type(built) is not OrderedDict:  # whose attributes are torch's versions of modules
            raise ValueError(f"a state of a {type(built).__name__}")
        self._stack.append(built)

    def _storage(self) -> None:
        """Note a storage that follows the pickle, as torch writes one."""
        (described,) = self._last(1)
        if self._stored is None:
            raise ValueError("a reference to something outside")
        _, kind, key, *_ = described
        if not isinstance(kind, _Named):
            raise ValueError("a storage of no kind")
        self._stored[str(key)] = _KINDS[kind.name.removeprefix("torch.")]
        self._stack.append(str(key))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    keys = values[::2]
    if len(values) % 2 or any(type(key) not in _KEYS for key in keys):
        raise ValueError("a dict whose keys are no names or numbers")
    return dict(zip(keys, values[1::2], strict=True))


def _reconstruct(_: _Budget, kind: Any, *__: Any) -> NDArray[Any]:
    """Return an array without numbers; they come with its state."""
    if not (isinstance(kind, _Named) and kind.name == "numpy.ndarray"):
        raise ValueError("an array of another class")
    return np.empty(0, dtype=np.uint8)


def _set_array(
    budget: _Budget, array: NDArray[Any], _: Any, shape: Any, dtype: Any, columns: Any, raw: Any
) -> None:
    """Give an array its numbers."""
    found = _numbers(budget, raw, dtype, shape)
    cast("Any", array).__setstate__((1, shape, found.dtype, bool(columns), found.tobytes()))


def _from_buffer(
    budget: _Budget, raw: Any, dtype: Any, shape: Any, order: Any = "C"
) -> NDArray[Any]:
    if order not in ("C", "F"):
        raise ValueError("an unknown order of axes")
    return _numbers(budget, raw, dtype, shape).reshape(shape, order=order).copy()


def _scalar(budget: _Budget, dtype: Any, raw: Any) -> Any:
    return _numbers(budget, raw, dtype, ())[0]


def _numbers(budget: _Budget, raw: Any, dtype: Any, shape: Any) -> NDArray[Any]:
    """Return a flat array of bytes that are exactly those of its shape."""
    raw = raw.encode("latin-1") if type(raw) is str else raw  # as Python 2 has bytes
    if type(raw) not in (bytes, bytearray) or not isinstance(dtype, _Dtype):
        raise ValueError("an array without its bytes")
    if math.prod(_whole(shape)) * dtype.value.itemsize != len(raw):
        raise ValueError(f"{len(raw):,} bytes for an array of {dtype.value} {shape}"[:200])
    budget.spend(len(raw))
    return np.frombuffer(raw, dtype=dtype.value)


def _whole(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("a shape that is none")
    return shape


def _encode(budget: _Budget, text: Any, encoding: Any) -> bytes:
    """Return the bytes that pickles of old protocols hold as text."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an unknown writing")
    budget.spend(len(text))
    return text.encode("latin-1")


def _ordered(_: _Budget, *items: Any) -> OrderedDict[Any, Any]:
    pairs = [value for item in (items[0] if items else ()) for value in item]
    return OrderedDict(_pairs(pairs))


def _storage_of(budget: _Budget, raw: Any) -> Tensor:
    """Return the numbers in the bytes that torch writes of one storage."""
    if type(raw) is not bytes:
        raise ValueError("a storage without its bytes")
    file = io.BytesIO(raw)
    stored: dict[str, torch.dtype] = {}
    # a magic number, the format's version, facts of the machine, the storage, the keys of all
    for _ in range(5):
        _Machine(budget, stored).run(file)
    (dtype,) = stored.values()
    count = int.from_bytes(file.read(8), "little")
    numbers = file.read()
    if count * dtype.itemsize != len(numbers):
        raise ValueError(f"{len(numbers):,} bytes for {count:,} numbers of {dtype}")
    budget.spend(len(numbers))
    return torch.frombuffer(bytearray(numbers), dtype=dtype) if numbers else torch.empty(0)


def _tensor(_: _Budget, storage: Any, offset: Any, size: Any, stride: Any, *__: Any) -> Tensor:
    """Return a tensor whose numbers lie one after the other in its storage."""
    size, stride = _whole(size), _whole(stride)
    dense = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    differs = any(n > 1 and s != d for n, s, d in zip(size, stride, dense, strict=True))
    (start,) = _whole((offset,))
    end = start + math.prod(size)
    if not isinstance(storage, Tensor) or differs or end > len(storage):
        raise ValueError("a tensor that lies otherwise in its storage")
    return storage[start:end].view(size)


def _parameter(_: _Budget, tensor: Any, *__: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter without its tensor")
    return tensor


_VALUES: Final = re.compile(
    r"(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|((SHORT_)?BIN)?STRING|((SHORT_)?BIN)?UNICODE8?"
    r"|(SHORT_)?BINBYTES8?|BYTEARRAY8"
)
_CONSTANTS: Final[Mapping[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
_ACTIONS: Final[Mapping[str, Callable[[_Machine, Any], Any]]] = {
    "MARK": lambda m, _: m._marks.append(len(m._stack)),
    "POP": lambda m, _: m._stack.pop(),
    "POP_MARK": lambda m, _: m._popped(),
    "DUP": lambda m, _: m._stack.append(m._stack[-1]),
    "MEMOIZE": lambda m, _: m._memo.update({len(m._memo): m._stack[-1]}),
    "LIST": lambda m, _: m._stack.append(m._popped()),
    "TUPLE": lambda m, _: m._stack.append(tuple(m._popped())),
    "DICT": lambda m, _: m._stack.append(_pairs(m._popped())),
    "TUPLE1": lambda m, _: m._stack.append(tuple(m._last(1))),
    "TUPLE2": lambda m, _: m._stack.append(tuple(m._last(2))),
    "TUPLE3": lambda m, _: m._stack.append(tuple(m._last(3))),
    "APPEND": lambda m, _: m._extend(m._last(1)),
    "APPENDS": lambda m, _: m._extend(m._popped()),
    "SETITEM": lambda m, _: m._fill(m._last(2)),
    "SETITEMS": lambda m, _: m._fill(m._popped()),
    "GLOBAL": lambda m, whole: m._name(*whole.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m._name(*m._last(2)),
    "REDUCE": lambda m, _: m._reduce(),
    "BUILD": lambda m, _: m._build(),
    "BINPERSID": lambda m, _: m._storage(),
}
_CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": lambda _, name, *__: _Dtype(name),
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda _: b"",
    "builtins.bytes": lambda _: b"",
    "collections.OrderedDict": _ordered,
    "torch.storage._load_from_bytes": _storage_of,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
