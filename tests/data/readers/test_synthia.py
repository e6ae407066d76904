"""The SYNTHIA loader, against 16-bit files packed here byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers.synthia import Synthia
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import DatasetOptions, ObjectFilter, Unnumbered, check_sizes
from uda4inst.errors import UserError
from uda4inst.toystreets import Scene, render_scene

# SYNTHIA's number of every trainId, from the data set's README.
SYNTHIA_OF_TRAIN_ID = {
    0: 3, 1: 4, 2: 2, 3: 21, 4: 5, 5: 7, 6: 15, 7: 9, 8: 6, 9: 16, 10: 1, 11: 10, 12: 17, 13: 8,
    14: 18, 15: 19, 16: 20, 17: 12, 18: 11, 255: 0,
}  # fmt: skip
CAR, PERSON, RIDER, BICYCLE = 8, 10, 17, 11


def png(array: np.ndarray) -> bytes:
    """Pack (H, W, 3) as an RGB PNG of its own depth, without filters."""
    height, width = array.shape[:2]
    rows = array.astype(array.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


def write_frame(root: Path, classes: Any, numbers: Any, *, name: str = "0000000") -> Path:
    """Write one frame whose labels have these classes (red) and numbers (green)."""
    labels = np.stack([classes, numbers, np.full(np.shape(classes), 7)], axis=2).astype(np.uint16)
    image = np.zeros(labels.shape, dtype=np.uint8)
    image[...] = (10, 20, 30)
    for folder, data in (("RGB", image), ("GT/LABELS", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.png").write_bytes(png(data))
    return root


def opened(root: Path, unnumbered: Unnumbered = "ignore") -> Synthia:
    return Synthia(root, options=DatasetOptions(unnumbered=unnumbered))


def without_absent(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene's semantic map and ids with its trucks and trains as buildings."""
    absent = np.isin(scene.semantic, (14, 16))
    return np.where(absent, 2, scene.semantic), np.where(absent, 0, scene.ids)


@pytest.mark.parametrize("index", range(3))
def test_read_labels__toystreets_scene(tmp_path: Path, index: int) -> None:
    scene = render_scene(seed=4, domain="render", split="train", index=index, size=(64, 128))
    semantic, ids = without_absent(scene)
    classes = np.vectorize(SYNTHIA_OF_TRAIN_ID.__getitem__)(semantic)
    read = opened(write_frame(tmp_path, classes, 300 * np.maximum(ids, 0))).read_labels(0)
    np.testing.assert_array_equal(read.semantic, semantic)
    expected = np.where((ids > 0) | (semantic < 11) | (semantic == 255), ids, -1)
    np.testing.assert_array_equal(read.ids > 0, expected > 0)
    np.testing.assert_array_equal(read.ids == -1, expected == -1)
    for k in np.unique(ids[ids > 0]):
        (mine,) = np.unique(read.ids[ids == k])
        assert np.array_equal(read.ids == mine, ids == k)
        assert read.labels[mine - 1] == scene.labels[k - 1]
    assert len(read.labels) == len(np.unique(ids[ids > 0]))


def test_read_labels__every_class(tmp_path: Path) -> None:
    write_frame(tmp_path, [list(range(23))], [[1] * 23])
    read = opened(tmp_path).read_labels(0)
    assert read.semantic.tolist() == [
        [255, 10, 2, 0, 1, 4, 8, 5, 13, 7, 11, 18, 17, 255, 255, 6, 9, 12, 14, 15, 16, 3, 255]
    ]
    assert read.labels.tolist() == [2, 0, 7, 6, 1, 4]
    assert np.flatnonzero(read.ids[0] == -1).tolist() == [18, 20]  # truck and train: never objects


def test_synthia__six_classes() -> None:
    assert Synthia.things == (0, 1, 2, 4, 6, 7)


def test_read_labels__number_beyond_a_byte(tmp_path: Path) -> None:
    write_frame(tmp_path, [[CAR, CAR, CAR]], [[1, 257, 976]])
    assert opened(tmp_path).read_labels(0).ids.tolist() == [[1, 2, 3]]


def test_read_labels__one_number_on_two_classes_is_two_objects(tmp_path: Path) -> None:
    write_frame(tmp_path, [[RIDER, RIDER, BICYCLE, 3]], [[5, 5, 5, 5]])
    read = opened(tmp_path).read_labels(0)
    assert read.ids.tolist() == [[2, 2, 1, 0]]
    assert read.labels.tolist() == [7, 1]


@pytest.mark.parametrize(
    ("unnumbered", "ids", "labels"),
    [
        ("ignore", [[-1, 0, 1], [0, -1, 0], [-1, 0, -1]], [0]),
        ("one", [[1, 0, 3], [0, 1, 0], [2, 0, 1]], [2, 0, 0]),  # 0 is the first of its class
        ("components", [[2, 0, 1], [0, 2, 0], [3, 0, 2]], [0, 2, 0]),
    ],
)
def test_read_labels__unnumbered(
    tmp_path: Path, unnumbered: Unnumbered, ids: object, labels: object
) -> None:
    classes = [[CAR, 3, PERSON], [3, CAR, 3], [PERSON, 3, CAR]]
    numbers = [[0, 0, 4], [0, 0, 0], [0, 0, 0]]
    read = opened(write_frame(tmp_path, classes, numbers), unnumbered).read_labels(0)
    assert (read.ids.tolist(), read.labels.tolist()) == (ids, labels)


def test_read_labels__components_are_of_one_class(tmp_path: Path) -> None:
    write_frame(tmp_path, [[CAR, RIDER, 3, CAR]], [[0, 0, 0, 0]])
    read = opened(tmp_path, "components").read_labels(0)
    assert (read.ids.tolist(), read.labels.tolist()) == ([[1, 3, 0, 2]], [2, 2, 1])


def test_read_labels__small_objects_are_ignored(tmp_path: Path) -> None:
    write_frame(tmp_path, [[CAR, CAR, PERSON]], [[1, 1, 2]])
    options = DatasetOptions(objects=ObjectFilter(min_area=2, max_occlusion=0.5))
    read = Synthia(tmp_path, options=options).read_labels(0)
    assert (read.ids.tolist(), read.labels.tolist()) == ([[1, 1, -1]], [2])


def test_synthia__size_from_the_file(tmp_path: Path) -> None:
    write_frame(tmp_path, np.full((9, 16), 3), np.zeros((9, 16)))
    dataset = opened(tmp_path)
    check_sizes(dataset)
    assert dataset.size_of(0) == (9, 16)
    sample = dataset.sample(0)
    assert (sample.image[:, 0, 0] * 255).round().tolist() == [10, 20, 30]
    assert (sample.sample_id, sample.domain) == ("0000000", "source")


def test_records__by_number(tmp_path: Path) -> None:
    for name in ("0000010", "0000002", "12"):
        write_frame(tmp_path, [[3]], [[0]], name=name)
    assert [r.sample_id for r in opened(tmp_path).records] == ["0000002", "0000010", "12"]


def test_open_dataset__folder_above_with_spaces_and_accents(tmp_path: Path) -> None:
    root = tmp_path / "mes données"
    write_frame(root / "RAND_CITYSCAPES", [[CAR]], [[3]])
    ref = DatasetRef.model_validate({"format": "synthia", "root": str(root)})
    dataset = open_dataset(ref, domain="source", labels="instances")
    assert dataset.read_labels(0).labels.tolist() == [2]


def test_synthia__without_labels(tmp_path: Path) -> None:
    write_frame(tmp_path, [[CAR]], [[3]])
    (tmp_path / "GT").rename(tmp_path / "elsewhere")
    assert Synthia(tmp_path, require_labels=False).records[0].labels == ()


def test_read_labels__unknown_class(tmp_path: Path) -> None:
    write_frame(tmp_path, [[3, 23, 300]], [[0, 0, 0]])
    with pytest.raises(UserError, match=r"lie in 0..22 .* got 23, 300 \(.*LABELS/0000000.png\)"):
        opened(tmp_path).read_labels(0)


def test_read_labels__eight_bits(tmp_path: Path) -> None:
    label = write_frame(tmp_path, [[3]], [[0]]) / "GT/LABELS/0000000.png"
    label.write_bytes(png(np.zeros((1, 1, 3), dtype=np.uint8)))
    message = r"16-bit RGB, got 8-bit RGB \(.*LABELS/0000000.png\). An 8-bit copy has lost"
    with pytest.raises(UserError, match=message):
        opened(tmp_path).read_labels(0)


def test_read_labels__gray(tmp_path: Path) -> None:
    label = write_frame(tmp_path, [[3]], [[0]]) / "GT/LABELS/0000000.png"
    header = struct.pack(">IIBBBBB", 1, 1, 16, 0, 0, 0, 0)
    data = label.read_bytes()
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    label.write_bytes(data[:16] + header + crc + data[33:])
    with pytest.raises(UserError, match=r"16-bit RGB, got 16-bit gray \(.*LABELS/0000000.png\)"):
        opened(tmp_path).read_labels(0)


@pytest.mark.parametrize(
    ("kept", "got"), [(0, "an empty file"), (20, "cut short"), (-9, "cut short")]
)
def test_read_labels__damaged_file(tmp_path: Path, kept: int, got: str) -> None:
    label = write_frame(tmp_path, [[3]], [[0]]) / "GT/LABELS/0000000.png"
    label.write_bytes(label.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"{got}.*LABELS/0000000.png"):
        opened(tmp_path).read_labels(0)


def test_check_sizes__labels_of_another_size(tmp_path: Path) -> None:
    write_frame(tmp_path, [[3, 3]], [[0, 0]])
    (tmp_path / "RGB/0000000.png").write_bytes(png(np.zeros((4, 4, 3), dtype=np.uint8)))
    message = r"size \(4, 4\), got \(1, 2\) \(.*LABELS/0000000.png\)"
    with pytest.raises(UserError, match=message):
        check_sizes(opened(tmp_path))
    with pytest.raises(UserError, match=message):
        opened(tmp_path).sample(0)


def test_synthia__labels_and_images_that_do_not_pair(tmp_path: Path) -> None:
    for name in ("0000001", "0000002", "0000003"):
        write_frame(tmp_path, [[3]], [[0]], name=name)
    (tmp_path / "RGB/0000001.png").unlink()
    (tmp_path / "GT/LABELS/0000003.png").rename(tmp_path / "GT/LABELS/0000003.PNG")
    with pytest.raises(UserError) as caught:
        opened(tmp_path)
    assert "must have its label map, got 1 of 2 images without: 0000003" in str(caught.value)
    assert "label map must have its image, got 1 without: 0000001" in str(caught.value)


@pytest.mark.parametrize("folder", ["RGB", "GT/LABELS"])
def test_synthia__missing_folder(tmp_path: Path, folder: str) -> None:
    (write_frame(tmp_path, [[3]], [[0]]) / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"root must hold the folder {folder}, got no such folder"):
        opened(tmp_path)


def test_synthia__no_images(tmp_path: Path) -> None:
    (write_frame(tmp_path, [[3]], [[0]]) / "RGB/0000000.png").rename(tmp_path / "RGB/a.png")
    with pytest.raises(UserError, match=r"images named 0000000.png, got none \(.*RGB\)"):
        opened(tmp_path)


def test_synthia__other_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split must be 'train' \(SYNTHIA has no other\)"):
        Synthia(tmp_path, "val")
