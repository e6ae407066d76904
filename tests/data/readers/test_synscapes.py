"""The Synscapes loader, against files written here value by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers.synscapes import Synscapes
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import DatasetOptions, ObjectFilter, check_sizes
from uda4inst.errors import UserError
from uda4inst.toystreets import Scene, render_scene

# Cityscapes label id of every trainId, from the table of its labels.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
RIDER, MOTORCYCLE, BICYCLE = 25, 32, 33
FAR = 2_400_004  # an id of the size the real files have


def write_frame(
    root: Path, classes: Any, ids: Any, meta: Any, *, name: str = "1", alpha: bool = False
) -> Path:
    """Write one frame with these label ids and instance ids; meta may be a class by id."""
    class_map, id_map = np.array(classes, dtype=np.uint8), np.array(ids, dtype=np.uint32)
    channels = [id_map % 256, id_map // 256 % 256, id_map // 65536]
    channels += [np.full_like(id_map, 255)] if alpha else []
    if "instance" not in meta:
        facts = {str(key): 0.0 for key in meta}
        text_ids = {str(key): value for key, value in meta.items()}
        meta = {"instance": {"class": text_ids, "occluded": facts, "truncated": facts}}
    image = np.full((*class_map.shape, 3), (10, 20, 30), dtype=np.uint8)
    pictures = {"rgb": image, "class": class_map, "instance": np.dstack(channels).astype(np.uint8)}
    for folder, data in pictures.items():
        (root / "img" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(data).save(root / "img" / folder / f"{name}.png")
    (root / "meta").mkdir(exist_ok=True)
    (root / "meta" / f"{name}.json").write_text(json.dumps(meta))
    return root


def meta_of(**changes: Any) -> dict[str, Any]:
    """Return the meta of one car with id 7, changed."""
    facts = {"class": {"7": 26}, "occluded": {"7": 0.25}, "truncated": {"7": 0.5}}
    return {"camera": {}, "instance": facts | changes, "scene": {}}


def frame_of_a_car(root: Path, meta: Any = None) -> Path:
    return write_frame(root, [[26, 7]], [[7, 0]], meta_of() if meta is None else meta)


def write_scene(scene: Scene, root: Path) -> None:
    """Write a scene in which every rider shares one id with a two-wheeler, while there are some."""
    table = np.array([*LABEL_IDS, *[0] * 237], dtype=np.uint8)
    classes = table[scene.semantic]
    partner = {k: k for k in range(1, len(scene.labels) + 1)}
    riders = [k for k in partner if scene.labels[k - 1] == 1]
    vehicles = [k for k in partner if scene.labels[k - 1] in (6, 7)]
    partner |= dict(zip(riders, vehicles, strict=False))
    # A rider left without one sits on a bicycle of which nothing is seen.
    fused = {k: LABEL_IDS[11 + scene.labels[k - 1]] for k in set(partner.values())}
    meta = {1000 * k: BICYCLE if v == RIDER else v for k, v in fused.items()}
    codes = np.array([0, *(1000 * partner[k] for k in sorted(partner))])
    write_frame(root, classes, codes[np.maximum(scene.ids, 0)], meta)


@pytest.mark.parametrize("index", [0, 23, 37])  # none, some, many riders
def test_read_labels__toystreets_scene(tmp_path: Path, index: int) -> None:
    scene = render_scene(seed=6, domain="render", split="train", index=index, size=(64, 128))
    write_scene(scene, tmp_path)
    read = Synscapes(tmp_path).read_labels(0)
    np.testing.assert_array_equal(read.semantic, scene.semantic)
    np.testing.assert_array_equal(read.ids > 0, scene.ids > 0)
    things = (scene.semantic >= 11) & (scene.semantic < 19)
    np.testing.assert_array_equal(read.ids == -1, things & (scene.ids <= 0))
    for k, label in enumerate(scene.labels, start=1):
        (mine,) = np.unique(read.ids[scene.ids == k])
        assert np.array_equal(read.ids == mine, scene.ids == k)
        assert read.labels[mine - 1] == label
    assert len(read.labels) == len(scene.labels)


def test_read_labels__classes_are_label_ids(tmp_path: Path) -> None:
    write_frame(tmp_path, [[*range(34), 255]], [[0] * 35], {})
    read = Synscapes(tmp_path).read_labels(0)
    expected = [LABEL_IDS.index(v) if v in LABEL_IDS else 255 for v in range(34)]
    assert read.semantic.tolist() == [[*expected, 255]]
    ignored = [24, 25, 26, 27, 28, 31, 32, 33]
    assert np.flatnonzero(read.ids[0]).tolist() == ignored
    assert len(read.labels) == 0


@pytest.mark.parametrize("alpha", [False, True], ids=["RGB", "RGBA"])
def test_read_labels__id_is_red_then_green_then_blue(tmp_path: Path, alpha: bool) -> None:
    ids = [[1, 256, 65536, FAR, 0]]
    meta = {1: 24, 256: 26, 65536: 27, FAR: 24}
    write_frame(tmp_path, [[24, 26, 27, 24, 7]], ids, meta, alpha=alpha)
    read = Synscapes(tmp_path).read_labels(0)
    assert read.labels.tolist() == [0, 0, 2, 3]
    assert read.ids.tolist() == [[1, 3, 4, 2, 0]]


def test_read_labels__riders_leave_their_vehicles(tmp_path: Path) -> None:
    classes = [
        [RIDER, RIDER, MOTORCYCLE, MOTORCYCLE, BICYCLE, 7],
        [RIDER, BICYCLE, BICYCLE, MOTORCYCLE, 26, 24],
    ]
    ids = [[5, 5, 5, 5, 5, 5], [6, 6, 6, 6, 6, 6]]
    write_frame(tmp_path, classes, ids, {5: MOTORCYCLE, 6: BICYCLE})
    read = Synscapes(tmp_path).read_labels(0)
    assert read.labels.tolist() == [1, 1, 6, 7]
    assert read.ids.tolist() == [[1, 1, 3, 3, -1, 0], [2, 4, 4, -1, -1, -1]]


def test_read_labels__vehicle_without_rider(tmp_path: Path) -> None:
    write_frame(tmp_path, [[MOTORCYCLE, 7]], [[5, 0]], {5: MOTORCYCLE})
    assert Synscapes(tmp_path).read_labels(0).labels.tolist() == [6]


def test_read_labels__only_pixels_whose_class_agrees(tmp_path: Path) -> None:
    classes = [[26, 26, 7, 24, 0, RIDER, 26, 24]]
    write_frame(tmp_path, classes, [[5, 5, 5, 5, 5, 5, 0, 6]], {5: 26, 6: 30})
    read = Synscapes(tmp_path).read_labels(0)
    assert read.ids.tolist() == [[1, 1, 0, -1, 0, -1, -1, -1]]
    assert read.labels.tolist() == [2]


def test_read_labels__hidden_objects_are_only_in_meta(tmp_path: Path) -> None:
    write_frame(tmp_path, [[26]], [[5]], {5: 26, 6: 24})
    assert Synscapes(tmp_path).read_labels(0).labels.tolist() == [2]


def split_frame(root: Path) -> Path:
    """A rider on a motorcycle, mostly hidden, and a car, mostly outside."""
    meta = {
        "instance": {
            "class": {"5": MOTORCYCLE, "9": 26},
            "occluded": {"5": 0.75, "9": 0},
            "truncated": {"5": 0.125, "9": 0.5},
        }
    }
    return write_frame(root, [[RIDER, MOTORCYCLE, 26]], [[5, 5, 9]], meta)


def test_read_objects__rider_and_vehicle_share_their_facts(tmp_path: Path) -> None:
    labels, facts = Synscapes(split_frame(tmp_path)).read_objects(0)
    assert labels.labels.tolist() == [1, 2, 6]
    assert facts.occlusion.tolist() == [0.75, 0, 0.75]
    assert facts.truncation.tolist() == [0.125, 0.5, 0.125]


@pytest.mark.parametrize(
    ("objects", "ids"),
    [
        (ObjectFilter(max_occlusion=0.5), [[-1, -1, 1]]),
        (ObjectFilter(max_truncation=0.25), [[1, 2, -1]]),
        (ObjectFilter(min_area=2), [[-1, -1, -1]]),
    ],
)
def test_read_labels__filters(tmp_path: Path, objects: ObjectFilter, ids: object) -> None:
    options = DatasetOptions(objects=objects)
    assert Synscapes(split_frame(tmp_path), options=options).read_labels(0).ids.tolist() == ids


def test_records__by_number_and_never_at_2k(tmp_path: Path) -> None:
    for name in ("10", "2", "1"):
        write_frame(tmp_path, [[7]], [[0]], {}, name=name)
    (tmp_path / "img/rgb-2k").mkdir()
    (tmp_path / "img/rgb-2k/1.png").write_bytes(b"")
    dataset = Synscapes(tmp_path)
    check_sizes(dataset)
    assert [r.sample_id for r in dataset.records] == ["1", "2", "10"]
    assert {r.image.parent.name for r in dataset.records} == {"rgb"}


def test_open_dataset__path_with_spaces_and_accents(tmp_path: Path) -> None:
    root = frame_of_a_car(tmp_path / "straße — 1")
    ref = DatasetRef.model_validate({"format": "synscapes", "root": str(root)})
    sample = open_dataset(ref, domain="source", labels="instances").sample(0)
    assert (sample.image[:, 0, 0] * 255).round().tolist() == [10, 20, 30]
    assert sample.known_instances().labels.tolist() == [2]


def test_synscapes__without_labels(tmp_path: Path) -> None:
    (frame_of_a_car(tmp_path) / "meta").rename(tmp_path / "elsewhere")
    assert Synscapes(tmp_path, require_labels=False).records[0].labels == ()


def test_read_labels__byte_order_mark(tmp_path: Path) -> None:
    meta = frame_of_a_car(tmp_path) / "meta/1.json"
    meta.write_text(meta.read_text(), encoding="utf-8-sig")
    assert Synscapes(tmp_path).read_labels(0).labels.tolist() == [2]


def test_read_labels__id_that_meta_does_not_know(tmp_path: Path) -> None:
    write_frame(tmp_path, [[26, 26]], [[7, FAR]], meta_of())
    message = r"list every id of the instance map \(1.png\), got none for 2400004 \(.*meta/1.json\)"
    with pytest.raises(UserError, match=message):
        Synscapes(tmp_path).read_labels(0)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"instance": 3}, "hold the object 'instance', got none"),
        (meta_of(**{"class": None}), "hold the object 'instance.class', got none"),
        (meta_of(**{"class": {"7": 34}}), "label ids .0..33., got 34 for 7"),
        (meta_of(**{"class": {"7": "car"}}), "label ids .0..33., got 'car' for 7"),
        (meta_of(occluded=[]), "hold the object 'instance.occluded', got none"),
        (meta_of(occluded={"8": 0}), "instance.occluded must give a number .* got None for 7"),
        (meta_of(truncated={"7": "half"}), "instance.truncated .* got 'half' for 7"),
    ],
)
def test_read_objects__meta_of_another_shape(tmp_path: Path, meta: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"{message} \(.*meta/1.json\)"):
        Synscapes(frame_of_a_car(tmp_path, meta)).read_objects(0)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b"", "Expecting value"),
        (b'{"instance": {', "Expecting property name"),
        (b"\xff\xfe{", "can't decode"),
        (b"[" * 100_000, "more than 64 deep"),
    ],
    ids=["empty", "cut", "not text", "deep"],
)
def test_read_labels__broken_meta(tmp_path: Path, text: bytes, got: str) -> None:
    (frame_of_a_car(tmp_path) / "meta/1.json").write_bytes(text)
    with pytest.raises(UserError, match=rf"must be JSON, got .*{got}.*meta/1.json"):
        Synscapes(tmp_path).read_labels(0)


def test_read_labels__meta_gone_since(tmp_path: Path) -> None:
    dataset = Synscapes(frame_of_a_car(tmp_path))
    (tmp_path / "meta/1.json").unlink()
    with pytest.raises(UserError, match=r"readable, got no such file \(.*meta/1.json\)"):
        dataset.read_labels(0)


def test_read_labels__unknown_class_id(tmp_path: Path) -> None:
    write_frame(tmp_path, [[34, 7, 90]], [[0, 0, 0]], {})
    with pytest.raises(UserError, match=r"Cityscapes label id .* got 34, 90 \(.*class/1.png\)"):
        Synscapes(tmp_path).read_labels(0)


Save = Callable[[Path], None]


def save(mode: str, *, size: tuple[int, int] = (2, 1)) -> Save:
    return lambda path: Image.new(mode, size).save(path)


@pytest.mark.parametrize(
    ("name", "spoil", "got"),
    [
        ("class", save("RGB"), "8-bit gray, got 8-bit RGB"),
        ("class", save("P"), "8-bit gray, got palette"),
        ("instance", save("L"), "8-bit RGB or 8-bit RGBA, got 8-bit gray"),
        ("instance", save("RGB", size=(1, 1)), r"class map's size \(1, 2\), got \(1, 1\)"),
        ("instance", lambda p: p.write_bytes(p.read_bytes()[:-14]), "cut short"),
        ("class", lambda p: p.write_bytes(b""), "an empty file"),
        ("instance", lambda p: p.write_bytes(b"GIF89a" + bytes(40)), "another kind of file"),
    ],
)
def test_read_labels__spoiled_map(tmp_path: Path, name: str, spoil: Save, got: str) -> None:
    spoil(frame_of_a_car(tmp_path) / f"img/{name}/1.png")
    with pytest.raises(UserError, match=rf"{got}.*img/{name}/1.png"):
        Synscapes(tmp_path).read_labels(0)


def test_sample__image_of_another_size(tmp_path: Path) -> None:
    save("RGB", size=(9, 9))(frame_of_a_car(tmp_path) / "img/rgb/1.png")
    message = r"image's size \(9, 9\), got \(1, 2\) \(.*class/1.png\)"
    with pytest.raises(UserError, match=message):
        Synscapes(tmp_path).sample(0)


def test_synscapes__files_that_do_not_pair(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        write_frame(tmp_path, [[7]], [[0]], {}, name=name)
    (tmp_path / "meta/2.json").unlink()
    (tmp_path / "img/rgb/3.png").unlink()
    with pytest.raises(UserError) as caught:
        Synscapes(tmp_path)
    message = str(caught.value)
    assert "every image must have its meta file, got 1 of 2 images without: 2" in message
    assert "every class map must have its image, got 1 without: 3" in message
    assert "every instance map must have its image, got 1 without: 3" in message


@pytest.mark.parametrize("folder", ["img/rgb", "img/class", "img/instance", "meta"])
def test_synscapes__missing_folder(tmp_path: Path, folder: str) -> None:
    (frame_of_a_car(tmp_path) / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"root must hold the folder {folder}, got no such folder"):
        Synscapes(tmp_path)


def test_synscapes__no_images(tmp_path: Path) -> None:
    (frame_of_a_car(tmp_path) / "img/rgb/1.png").rename(tmp_path / "img/rgb/one.png")
    with pytest.raises(UserError, match=r"images named 1.png, got none \(.*img/rgb\)"):
        Synscapes(tmp_path)


def test_synscapes__other_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split must be 'train' \(Synscapes has no other\)"):
        Synscapes(tmp_path, "val")
