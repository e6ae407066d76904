from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uda4inst.exchange import pickles
from uda4inst.exchange.pickles import parse_pickle, read_pickle


def weights() -> OrderedDict[str, Any]:
    found: Any = OrderedDict(
        matrix=np.arange(6, dtype=np.float32).reshape(2, 3),
        columns=np.asfortranarray(np.arange(6).reshape(2, 3)),
        nothing=np.zeros((0, 4)),
        alone=np.array(7),
        truth=np.array([True, False]),
        other_order=np.arange(3).astype(">i4"),
        number=np.float32(2.5),
        tensor=torch.rand(2, 3),
        parameter=torch.nn.Parameter(torch.rand(3)),
        halves=torch.rand(4, 2).half(),
        short=torch.rand(3).bfloat16(),
        scalar=torch.tensor(5),
        empty=torch.zeros(0),
    )
    found._metadata = {"": {"version": 1}}  # torch's, of every state dict
    return found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_parse_pickle__reads_what_python_writes(protocol: int) -> None:
    written = weights()
    plain = {"author": "ä", "step": 3, "rate": 0.5, "large": 2**80, "none": None, "list": [1, (2,)]}

    found = parse_pickle(pickle.dumps({"model": written, **plain}, protocol=protocol))

    assert {name: found[name] for name in plain} == plain
    assert found["model"].keys() == written.keys()
    for name, wanted in written.items():
        got = found["model"][name]
        assert isinstance(got, torch.Tensor) == isinstance(wanted, torch.Tensor)
        wanted = wanted.detach() if isinstance(wanted, torch.Tensor) else wanted
        assert (
            torch.equal(got, wanted) if isinstance(got, torch.Tensor) else got.shape == wanted.shape
        )
        assert got.dtype == wanted.dtype or name == "other_order"
        assert np.array_equal(np.asarray(got.tolist()), np.asarray(wanted.tolist()))


def test_parse_pickle__reads_an_array_of_python_2() -> None:
    """Bytes are text there: ndarray and dtype as numpy has pickled them since then."""
    data = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x02\x85cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x02\x01\xfftbs."
    )

    assert parse_pickle(data)["a"].tolist() == [1, 255]
    assert pickle.loads(data, encoding="latin1")["a"].tolist() == [1, 255]


class Runs:
    """Runs something when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def marker() -> Path:
    return Path(os.environ["MARKER"])


def hostile() -> dict[str, Any]:
    touch = f"touch {marker()}"
    return {
        "posix.system": Runs(os.system, touch),
        "builtins.eval": Runs(eval, f"open({str(marker())!r}, 'w')"),
        "builtins.exec": Runs(exec, f"open({str(marker())!r}, 'w')"),
        "builtins.getattr": Runs(getattr, Runs(__import__, "os"), "system"),
        "builtins.__import__": Runs(__import__, "os"),
        "builtins.map": Runs(map, Runs(os.system, touch), [1]),
        "numpy.fromfile": Runs(np.fromfile, str(marker())),
        "builtins.complex": 1j,
    }


@pytest.fixture(autouse=True)
def _marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKER", str(tmp_path / "was here"))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["posix.system", "builtins.eval", "builtins.exec"])
def test_parse_pickle__runs_nothing_and_names_it(name: str, protocol: int) -> None:
    written = name if protocol == 4 else name.replace("builtins", "__builtin__")
    data = pickle.dumps({"model": {"a": hostile()[name]}}, protocol=protocol)

    with pytest.raises(ValueError, match=f"a call of {written}"):
        parse_pickle(data)
    assert not marker().exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.getattr",
        "builtins.__import__",
        "builtins.map",
        "numpy.fromfile",
        "builtins.complex",
    ],
)
def test_parse_pickle__runs_nothing_nested(name: str) -> None:
    data = pickle.dumps({"model": {"a": [hostile()[name]]}}, protocol=4)

    with pytest.raises(ValueError, match=r"a call of .*, which is no part of weights"):
        parse_pickle(data)
    assert not marker().exists()


def reduced(called: str, arguments: bytes) -> bytes:
    """The pickle of a call of a module's function with a tuple of arguments."""
    module, name = called.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode() + arguments + b"R."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
FLOATS = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "exhausted|no end"),
        (b".", "without its values"),
        (b"N", "exhausted"),
        (b"\x80\x04]", "exhausted"),
        (b"}a.", "without its values|no list"),
        (b"(.", "without its values"),
        (b"g5\n.", "without its values"),
        (b"I1\nI2\na.", "no list"),
        (b"]I1\nI2\ns.", "no dict"),
        (b"}(I1\nu.", "keys are no names"),
        (b"}]I1\ns.", "keys are no names"),
        (b"}(tI1\ns.", "keys are no names"),
        (b"I1\n(tR.", "no function"),
        (b"cnumpy\nndarray\n(tR.", "no function"),
        (b"c_codecs\nencode\nI1\nR.", "without its arguments"),
        (b"Pkey\n.", "PERSID"),
        (b"NQ.", "outside"),
        (b"\x82\x01.", "EXT1"),
        (b"(ios\nsystem\n.", "INST"),
        (b"(cos\nsystem\no.", "a call of os.system"),
        (b"\x80\x02]]\x81.", "NEWOBJ"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"]}b.", "a state of a list"),
        (reduced("numpy.dtype", b"(S'O8'\ntR"[:-1]), "no numbers"),
        (reduced("numpy.dtype", b"(S'f4,O'\nt"), "no numbers"),
        (reduced("numpy.dtype", b"(]t"), "no numbers"),
        (reduced("_codecs.encode", b"(S'a'\nS'rot13'\nt"), "unknown writing"),
        (reduced("_codecs.encode", b"(I1\nS'latin1'\nt"), "unknown writing"),
        (reduced("numpy.core.multiarray._reconstruct", b"(]t"), "another class"),
        (reduced("numpy.core.multiarray._reconstruct", b"(t"), "another kind"),
        (reduced("collections.OrderedDict", b"(I1\nt"), "another kind"),
        (ARRAY + b"(I1\n(I1\nt" + FLOATS + b"I00\nS'abc'\ntb.", "3 bytes for an array"),
        (ARRAY + b"(I1\n(I-1\nt" + FLOATS + b"I00\nS'abcd'\ntb.", "a shape that is none"),
        (ARRAY + b"(I1\n]" + FLOATS + b"I00\nS'abcd'\ntb.", "a shape that is none"),
        (ARRAY + b"(I1\n(I1\nt" + FLOATS + b"I00\n]tb.", "without its bytes"),
        (ARRAY + b"(I1\n(I1\ntNI00\nS'abcd'\ntb.", "without its bytes"),
        (ARRAY + b"I1\nb.", "another kind"),
        (reduced("torch._utils._rebuild_tensor_v2", b"(I1\nI0\n(I1\nt(I1\ntt"), "otherwise"),
        (reduced("torch._utils._rebuild_parameter", b"(I1\nt"), "without its tensor"),
        (reduced("torch.storage._load_from_bytes", b"(I1\nt"), "without its bytes"),
        (b"ctorch\nload\n.", "a call of torch.load"),
        (b"S'a'\n\x93.", "without its values"),
    ],
    ids=range(43),
)
def test_parse_pickle__refuses_what_is_no_pickle_of_weights(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_pickle(data)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_parse_pickle__refuses_every_cut(protocol: int) -> None:
    data = pickle.dumps({"model": {"a": np.arange(3.0), "b": torch.rand(2)}}, protocol=protocol)

    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            parse_pickle(data[:length])


def test_parse_pickle__ends_in_a_value_or_an_error_whatever_byte_is_changed() -> None:
    data = pickle.dumps({"model": {"a": np.arange(3.0), "b": torch.rand(2)}}, protocol=2)
    numbers = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        changed = bytearray(data)
        changed[numbers.integers(len(data))] = numbers.integers(256)
        try:
            parse_pickle(bytes(changed))
        except ValueError:
            refused += 1

    assert 0 < refused < 3000


@pytest.mark.parametrize("declared", [2**31 - 1, 2**40, 2**62])
def test_parse_pickle__takes_no_memory_for_what_is_not_there(declared: int) -> None:
    shape = f"(I1\n(L{declared}L\nt".encode()
    for data in (
        b"\x80\x04\x8e" + struct.pack("<Q", declared) + b"abc.",
        ARRAY + shape + FLOATS + b"I00\nS'abcd'\ntb.",
    ):
        with pytest.raises(ValueError, match=r"bytes"):
            parse_pickle(data)


def test_parse_pickle__makes_no_more_than_the_file_holds() -> None:
    """One text of a megabyte, made bytes again and again."""
    text = b"X" + struct.pack("<I", 2**20) + bytes(2**20) + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    call = b"c_codecs\nencode\nh\x00h\x01\x86R"

    with pytest.raises(ValueError, match="the same ones many times"):
        parse_pickle(b"\x80\x02]" + text + b"(" + 50 * call + b"e.")
    assert len(parse_pickle(b"\x80\x02]" + text + b"00(" + call + b"e.")) == 1


def test_parse_pickle__hashes_nothing_that_is_nested() -> None:
    """Each tuple holds the one before twice: to hash the last would take for ever."""
    doubled = b"\x80\x02})q\x000" + 64 * b"h\x00h\x00\x86q\x000" + b"h\x00Ns."

    with pytest.raises(ValueError, match="keys are no names"):
        parse_pickle(doubled)


def test_parse_pickle__counts_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_OPERATIONS", 100)

    with pytest.raises(ValueError, match="more than 100 operations"):
        parse_pickle(b"]" * 101 + b".")


def test_parse_pickle__refuses_a_tensor_larger_than_its_storage() -> None:
    data = pickle.dumps(torch.zeros(1).expand(2), protocol=2)
    larger = data.replace(b"K\x02\x85", b"J\x00\x00\x00\x40\x85", 1)
    assert larger != data

    for changed in (data, larger):
        with pytest.raises(ValueError, match="lies otherwise in its storage"):
            parse_pickle(changed)


def test_read_pickle__refuses_a_file_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    assert read_pickle(tmp_path / "a.pkl") == [1, 2, 3]
    monkeypatch.setattr(pickles, "MAX_PICKLE", 4)

    with pytest.raises(OSError, match="more than 4 bytes"):
        read_pickle(tmp_path / "a.pkl")


def test_values__are_operations_of_pickle() -> None:
    names = {operation.name for operation in pickletools.opcodes}
    kept = {name for name in names if pickles._VALUES.fullmatch(name)}

    assert kept == {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
        "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }  # fmt: skip
