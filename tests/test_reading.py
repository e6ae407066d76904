"""Files are read by `uda4inst.reading` and its like alone, and what they refuse is one error."""

from __future__ import annotations

import ast
import io
import os
import re
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uda4inst.reading import (
    open_regular,
    parse_json,
    read_array,
    read_arrays,
    read_bytes,
    read_json,
    read_text,
)

ROOT = Path(__file__).parent.parent

# What reads a file or parses it, and so may stand in few places alone.
PARSERS = (
    "yaml.load",
    "yaml.safe_load",
    "json.load",
    "json.loads",
    "msgspec.json.decode",
    "Image.open",
    "JpegImageFile",
    "cv2.imread",
    "cv2.imdecode",
    "np.load",
    "torch.load",
    "safe_open",
    "load_file",
    "gzip.open",
    "zipfile.ZipFile",
)
# Where, with the number of places; one that is gone must be taken out here too.
ALLOWED = {
    "uda4inst/reading.py": 2,
    "uda4inst/yaml_dialect.py": 1,
    "uda4inst/pictures.py": 1,
    "uda4inst/data/files/images.py": 1,  # pictures of data sets: headers are looked at first
    "uda4inst/data/files/png.py": 3,  # the same
    "uda4inst/data/readers/coco_file.py": 3,  # typed, of a file that `reading` opened
    "uda4inst/formats/cityscapes_submission.py": 1,  # after `check_picture`
    "uda4inst/formats/label_maps.py": 3,  # of a file that `reading` opened; one writes
    "uda4inst/formats/predictions.py": 1,  # of a file that `reading` opened
    "uda4inst/models/storage.py": 3,  # of a file that `reading` opened; safetensors; one writes
    # Files of the package, the system, or the program itself.
    "uda4inst/models/memory.py": 2,
    "uda4inst/run_folder/commit.py": 1,
    "uda4inst/suites/machine.py": 1,
    "uda4inst/suites/scales.py": 1,
    "uda4inst/toystreets/effects.py": 1,
    "uda4inst/training/config.py": 1,
    "workbench/sessions/database.py": 2,
    "workbench/stores/suite_exports.py": 1,  # writes
}


def direct_reads(source: str) -> list[str]:
    """Return the calls that read a file, or parse one, by a library or by hand."""
    return [
        ast.unparse(call)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and is_read(ast.unparse(call.func), call)
    ]


def is_read(name: str, call: ast.Call) -> bool:
    owner, _, last = name.rpartition(".")
    if last in ("read_bytes", "read_text"):
        return owner not in ("", "reading", "png")
    is_open = last == "open" and owner not in ("os", "webbrowser")
    return name in PARSERS or (is_open and any(re.fullmatch(r"'r[bt+]*'", a) for a in modes(call)))


def modes(call: ast.Call) -> list[str]:
    return [ast.unparse(a) for a in (*call.args, *(k.value for k in call.keywords))]


def test_files__are_read_within_bounds_by_their_owners_alone() -> None:
    paths = [path for name in ("uda4inst", "workbench") for path in (ROOT / name).rglob("*.py")]
    found = {p.relative_to(ROOT).as_posix(): direct_reads(p.read_text("utf-8")) for p in paths}
    assert {path: len(calls) for path, calls in found.items() if calls} == ALLOWED, {
        path: calls for path, calls in found.items() if len(calls) != ALLOWED.get(path, 0)
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("json.loads(text)", 1),
        ("path.read_text()", 1),
        ("(folder / 'a').read_bytes()", 1),
        ("path.open('rb')", 1),
        ("open(path, mode='r')", 1),
        ("read_text(path)", 0),
        ("reading.read_bytes(path)", 0),
        ("path.open('ab')", 0),
        ("json.dumps(value)", 0),
        ("services.data_sets.open(ref)", 0),
    ],
)
def test_direct_reads__are_those_past_the_owners(source: str, expected: int) -> None:
    assert len(direct_reads(source)) == expected


def make_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.mkdir(), "Is a directory"),
        (make_socket, "No such device"),
        (lambda path: path.symlink_to(path), "Too many levels"),
        (lambda path: path.write_bytes(b"12345"), "more than 4 bytes"),
        (lambda path: None, "No such file"),
    ],
)
def test_open_regular__refuses_what_is_no_file_of_that_size(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "a"
    make(path)
    with pytest.raises(OSError, match=message):
        open_regular(path, limit=4)


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_open_regular__refuses_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"no name of a file|too long"):
        open_regular(tmp_path / name)


def test_read_text__ends_lines_alike(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ä\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a") == "ä\nb\nc\n"
    assert read_bytes(tmp_path / "a") == "ä\r\nb\rc\n".encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ("[" * 100_000, "more than 64 deep"),
        ("[" * 70 + "]" * 70, "more than 64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "more than 64 deep"),
        ("1" * 5000, "a number of 5000 digits"),
        ("-" + "1" * 20, "a number of 20 digits"),
        ("[NaN]", "NaN, which is no finite number"),
        ("[1e999]", "1e999, which is no finite number"),
        ("[1] 2", "Extra data"),
        (b"\xff\xfe\xff", "codec can't decode|Expecting value"),
        ("", "Expecting value"),
    ],
)
def test_parse_json__has_one_error_for_what_it_refuses(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_parse_json__reads_what_is_as_deep_as_may_be() -> None:
    value = parse_json("[" * 64 + "1" + "]" * 64)
    for _ in range(64):
        (value,) = value
    assert value == 1


def test_parse_json__lets_numbers_through_for_who_names_their_entry() -> None:
    assert str(parse_json("[NaN, 1e999]", allow_nan=True)) == "[nan, inf]"


def test_read_json__a_mark_of_byte_order_is_as_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a", encoding="utf-8-sig") == {"a": 1}


@pytest.mark.parametrize("compressed", [False, True])
def test_read_arrays__equal_numpys(tmp_path: Path, compressed: bool) -> None:
    arrays = {
        "picture": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "none": np.zeros((0, 5), dtype=np.int64),
        "number": np.array(3.5),
        "names": np.array(["a", "bc"]),
    }
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable


def test_read_array__equals_numpys(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.arange(6).reshape(2, 3))


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00abc",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(7)),
        npy("{'descr': ['x'], 'fortran_order': False, 'shape': (1,)}"),
        npy("not a dictionary"),
        npy("(" * 3000),
    ],
    ids=range(10),
)
def test_read_array__refuses_what_is_no_array(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"."):
        read_array(tmp_path / "a.npy")


def test_read_arrays__take_no_memory_for_what_unpacks_to_too_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2**20))
    with pytest.raises(ValueError, match="more than 65,536 bytes"):
        read_arrays(tmp_path / "a.npz", limit=2**16)


@pytest.mark.parametrize("cut", [0, 10, 60, -1])
def test_read_arrays__refuse_a_cut_file(tmp_path: Path, cut: int) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(9))
    (tmp_path / "a.npz").write_bytes(buffer.getvalue()[:cut])
    with pytest.raises(ValueError, match="cut or damaged"):
        read_arrays(tmp_path / "a.npz")
