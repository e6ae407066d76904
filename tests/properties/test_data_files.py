"""Whatever lies in a data set or among predictions: a value or a UserError, in bounded time."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sample_files import (
    CLASS_MAP,
    ENTRY,
    INSTANCES,
    NAME,
    PICTURES,
    PREDICTION_LINE,
    RESULTS,
    ZIPPED,
)
from strange import TEXTS, VALUES, attempt, json_of, spoiled

from uda4inst.classes import THING_NAMES
from uda4inst.data.files.images import picture_size, read_picture
from uda4inst.data.files.png import read_map
from uda4inst.data.readers.coco_file import read_annotation_file, read_images
from uda4inst.formats.cityscapes_submission import read_submission
from uda4inst.formats.class_map import MapEntry, folded, read_class_map, write_class_map
from uda4inst.formats.coco import read_results
from uda4inst.formats.image_list import read_image_list
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.formats.predictions import read_predictions
from uda4inst.formats.rle import as_rle, rle_decode, run_lengths
from uda4inst.pictures import decode_picture


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def label_of(name: str) -> int | None:
    return THING_NAMES.index(name) if name in THING_NAMES else None


@given(json_of(INSTANCES))
@example(b'{"images": ' + b"[" * 100_000)
def test_annotations__are_some_or_a_message(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "a.json", data)
    attempt(read_images, path)
    found, _ = attempt(partial(read_annotation_file, label_of=label_of), path)
    for entry in [] if found is None else found.annotations:
        code, message = attempt(lambda e=entry: as_rle(e.mask(), (2, 2)), error=ValueError)
        assert code or message


@given(json_of(RESULTS) | json_of([ENTRY]))
@example(json.dumps({**RESULTS, "images": RESULTS["images"] * 2}).encode())
def test_results__are_some_or_a_message(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "a.json", data)
    found, _ = attempt(read_results, path, {NAME: (2, 2)})
    for detection in [] if found is None else found[NAME]:
        assert detection.pixels().shape == (2, 2)


@given(st.lists(json_of(PREDICTION_LINE), max_size=3), st.booleans())
def test_predictions__are_some_or_a_message(
    tmp_path: Path, lines: list[bytes], is_packed: bool
) -> None:
    data = b"\n".join(lines)
    path = put(tmp_path / "a.gz", gzip.compress(data, mtime=0) if is_packed else data)
    found, _ = attempt(lambda: list(read_predictions(path)))
    for image in found or []:
        for detection in image.detections:
            pixels, message = attempt(detection.pixels, error=ValueError)
            assert "run-length code" in message or pixels.shape == image.size


@given(spoiled(gzip.compress(json.dumps(PREDICTION_LINE).encode(), mtime=0)))
def test_packed_predictions__are_some_or_a_message(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "a.gz", data)
    attempt(lambda: list(read_predictions(path)))


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace")))
def test_image_list__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    attempt(read_image_list, put(tmp_path / "a.txt", data))


@given(
    json_of(CLASS_MAP)
    | st.dictionaries(TEXTS, VALUES).map(lambda names: json.dumps({"classes": names}).encode())
)
@example(b"classes: {yes: car, 1e-4: bus, [a]: car, {a: b}: car}")
@example(b"classes: &a {b: *a}")
def test_class_map__is_one_or_a_message(tmp_path: Path, data: bytes) -> None:
    found, message = attempt(read_class_map, put(tmp_path / "a.yaml", data))
    if found is None:
        assert "class map must" in message
        return
    assert found.names == tuple(sorted(found.names))
    assert all(found.has(name) and folded(name) == name for name, _ in found.names)
    assert len(found.hash) == 12


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(folded),
        st.sampled_from([None, *THING_NAMES]),
        min_size=1,
        max_size=6,
    )
)
def test_class_map__of_any_names_reads_back(tmp_path: Path, names: dict[str, str | None]) -> None:
    entries = {folded(name): MapEntry(name, ours, "7 seen") for name, ours in names.items()}
    write_class_map(tmp_path / "a.yaml", entries.values())
    found = read_class_map(tmp_path / "a.yaml")
    assert dict(found.names) == {key: entry.ours for key, entry in entries.items()}


@given(
    st.text(max_size=40) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=40),
    st.lists(st.integers(-1, 2**40), min_size=2, max_size=2),
)
@example("0" + "PPPPPPPPPPP@" * 4, [2, 2])
@example("PPPPPPPPPPPP4PPPPPPPPPPPP4PPPPPPPPPPPP4PPPPPPPPPPPP4" + "4", [2, 2])
@example("22", [2**20, 2**20])
def test_run_lengths__fill_the_mask_or_are_refused(counts: str, size: list[int]) -> None:
    runs, message = attempt(run_lengths, {"size": size, "counts": counts}, error=ValueError)
    if "run-length code" not in message:
        assert runs.min() >= 0
        assert runs.sum() == size[0] * size[1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_run_lengths__of_a_code_are_those_it_was_made_of(lengths: list[int]) -> None:
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    mask = pixels.reshape(1, -1) if pixels.size else np.zeros((1, 1), bool)
    code = as_rle({"size": list(mask.shape), "counts": lengths if pixels.size else [1]}, mask.shape)
    np.testing.assert_array_equal(rle_decode(code), mask)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@given(data=st.data())
def test_picture__is_one_or_a_message(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(sorted(PICTURES)))
    path = put(tmp_path / f"a{suffix}", data.draw(spoiled(PICTURES[whole])))
    attempt(picture_size, path)
    attempt(read_picture, path)
    attempt(partial(read_map, what="map", allow={"8-bit gray", "palette", "8-bit RGB"}), path)


@given(data=st.data())
def test_picture_of_any_kind__is_one_or_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(sorted(PICTURES)))
    content = data.draw(spoiled(PICTURES[whole]))
    pixels, message = attempt(decode_picture, content, lambda p: p.convert("RGB"), error=ValueError)
    assert message or pixels.shape[2] == 3


@given(data=st.data())
def test_submission__is_one_or_a_message(tmp_path: Path, data: st.DataObject) -> None:
    text = f"{NAME}_0.png 26 0.5\n".encode()
    put(tmp_path / f"{NAME}_pred.txt", data.draw(spoiled(text) | st.just(text)))
    put(tmp_path / f"{NAME}_0.png", data.draw(spoiled(PICTURES["PNG-L"])))
    found, _ = attempt(read_submission, tmp_path, [NAME])
    for line in [] if found is None else found[NAME]:
        attempt(line.load, (3, 3))


@given(spoiled(ZIPPED))
def test_label_maps__are_some_or_a_message(tmp_path: Path, data: bytes) -> None:
    maps, _ = attempt(LabelMaps, put(tmp_path / "a.zip", data))
    if maps is not None:
        attempt(maps.read, "a")
