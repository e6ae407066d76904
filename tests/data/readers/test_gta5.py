"""The GTA5 loader, against palette files written here value by value."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import GTA5
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.errors import UserError
from uda4inst.toystreets import render_scene

# Cityscapes label id of every trainId.
LABEL_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])


def palette_image(ids: np.ndarray | list[list[int]]) -> Image.Image:
    """Return a palette picture whose indices are these ids; colours are not in their order."""
    values = np.array(ids, dtype=np.uint8)
    image = Image.frombytes("P", (values.shape[1], values.shape[0]), values.tobytes())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tolist())
    return image


def write_image(
    root: Path, label: np.ndarray | list[list[int]] | Image.Image, number: str = "00001"
) -> GTA5:
    """Write one image with these label ids, and open the tree."""
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    stored = label if isinstance(label, Image.Image) else palette_image(label)
    Image.new("RGB", stored.size, (10, 20, 30)).save(root / "images" / f"{number}.png")
    stored.save(root / "labels" / f"{number}.png")
    return GTA5(root)


@pytest.mark.parametrize("index", [0, 1])
def test_read_semantic__toystreets_scene(tmp_path: Path, index: int) -> None:
    scene = render_scene(seed=4, domain="render", split="train", index=index, size=(64, 128))
    dataset = write_image(tmp_path, np.append(LABEL_IDS, [0] * 237)[scene.semantic])
    np.testing.assert_array_equal(dataset.read_semantic(0), scene.semantic)
    things = (scene.semantic >= 11) & (scene.semantic < 19)
    np.testing.assert_array_equal(dataset.read_labels(0).ids, np.where(things, -1, 0))


def test_read_labels__index_is_the_label_id(tmp_path: Path) -> None:
    read = write_image(tmp_path, [list(range(35))]).read_labels(0)
    known = LABEL_IDS.tolist()
    assert read.semantic.tolist() == [[known.index(v) if v in known else 255 for v in range(35)]]
    assert np.flatnonzero(read.ids[0]).tolist() == [24, 25, 26, 27, 28, 31, 32, 33]
    assert (read.ids.min(), read.ids.max(), len(read.labels)) == (-1, 0, 0)


def test_read_labels__few_colours_in_four_bits(tmp_path: Path) -> None:
    image = palette_image([[7, 8, 11]])
    image.save(tmp_path / "small.png", bits=4)
    dataset = write_image(tmp_path, [[0, 0, 0]])
    (tmp_path / "small.png").replace(tmp_path / "labels/00001.png")
    assert dataset.read_semantic(0).tolist() == [[0, 1, 2]]


def test_read_labels__gray_file_of_ids(tmp_path: Path) -> None:
    gray = Image.fromarray(np.array([[26, 7, 34]], np.uint8))
    assert write_image(tmp_path, gray).read_semantic(0).tolist() == [[13, 0, 255]]


def test_records__pairs_in_order_of_their_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in ("100000", "00010", "00009", "00003", "00004"):
        write_image(tmp_path, [[7]], number)
    (tmp_path / "images/00003.png").unlink()
    (tmp_path / "labels/00004.png").unlink()
    (tmp_path / "labels/00009_labelTrainIds.png").touch()
    with caplog.at_level(logging.INFO):
        dataset = GTA5(tmp_path)
    assert [record.sample_id for record in dataset.records] == ["00009", "00010", "100000"]
    assert [r.message for r in caplog.records] == [
        f"{tmp_path}: 2 frames lack a file: 00003, 00004"
    ]


def test_gta5__without_labels(tmp_path: Path) -> None:
    write_image(tmp_path, [[7]])
    (tmp_path / "labels/00001.png").unlink()
    dataset = GTA5(tmp_path, require_labels=False)
    assert dataset.read_image(0).tolist() == [[[10, 20, 30]]]


def test_open_dataset__gta5_has_no_instances_to_learn(tmp_path: Path) -> None:
    write_image(tmp_path, [[7]])
    ref = DatasetRef.model_validate({"format": "gta5", "root": str(tmp_path)})
    with pytest.raises(UserError, match="must have instances here, got GTA5"):
        open_dataset(ref, domain="source", labels="instances")


def test_gta5__no_pair(tmp_path: Path) -> None:
    write_image(tmp_path, [[7]])
    (tmp_path / "labels/00001.png").rename(tmp_path / "labels/00002.png")
    with pytest.raises(UserError, match=r"with a label map of the same name, got none .*images"):
        GTA5(tmp_path)


def test_gta5__names_in_another_case(tmp_path: Path) -> None:
    write_image(tmp_path, [[7]])
    (tmp_path / "images/00001.png").rename(tmp_path / "images/00001.PNG")
    with pytest.raises(UserError, match=r"images named 00001.png .* got none \(.*images\)"):
        GTA5(tmp_path)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_gta5__missing_folder(tmp_path: Path, folder: str) -> None:
    write_image(tmp_path, [[7]])
    (tmp_path / folder).rename(tmp_path / "other")
    with pytest.raises(UserError, match=rf"must hold the folder {folder}, got no .*{folder}\)"):
        GTA5(tmp_path)


def test_gta5__other_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be 'train' .* got 'val'"):
        GTA5(tmp_path, "val")


def test_read_labels__unknown_id(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 35, 255]])
    with pytest.raises(UserError, match=r"\[0, 34\], got 35, 255 \(.*labels/00001.png\)"):
        dataset.read_labels(0)


def test_read_labels__colours_in_place_of_indices(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, palette_image([[7]]).convert("RGB"))
    with pytest.raises(UserError, match=r"8-bit gray or palette, got 8-bit RGB \(.*labels/00001"):
        dataset.read_labels(0)


def test_read_labels__size_differs_from_the_image(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 7]])
    palette_image([[7], [7]]).save(tmp_path / "labels/00001.png")
    with pytest.raises(UserError, match=r"size \(1, 2\), got \(2, 1\) \(.*labels/00001.png\)"):
        dataset.read_labels(0)


def test_read_labels__cut_label_map(tmp_path: Path) -> None:
    dataset = write_image(tmp_path, [[7, 7]])
    path = tmp_path / "labels/00001.png"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"cut short after \d+ bytes \(.*labels/00001.png\)"):
        dataset.read_labels(0)
