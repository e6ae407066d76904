"""Own data in COCO's format, against annotation files and masks written here number by number."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uda4inst.classes import BACKGROUND_LABEL_ID, NUM_THINGS, ThingClasses
from uda4inst.data.config import DatasetRef
from uda4inst.data.readers.coco_folder import CocoFolder, label_of
from uda4inst.data.records import TreeError
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import DatasetOptions, ObjectFilter
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import accumulators, judge_image, results_json
from uda4inst.formats.class_map import ClassMap
from uda4inst.formats.coco import annotations_of
from uda4inst.formats.predictions import ScoredMask
from uda4inst.toystreets import render_scene

NAMES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
SIZE = (4, 6)


def run_lengths_of(mask: np.ndarray) -> list[int]:
    """Count along the columns, one pixel at a time."""
    lengths, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return lengths


def compressed(lengths: list[int]) -> str:
    """Write run lengths as COCO's text: five bits a character, 48 is none."""
    text = ""
    for place, length in enumerate(lengths):
        number = length - (lengths[place - 2] if place > 2 else 0)
        while True:
            bits, number = number & 31, number >> 5
            is_last = number == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if is_last else 32))
            if is_last:
                break
    return text


def rle(mask: np.ndarray, *, text: bool = False) -> dict[str, Any]:
    lengths = run_lengths_of(mask)
    return {"size": list(mask.shape), "counts": compressed(lengths) if text else lengths}


def drawn(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


BLOCK = drawn("......", ".##...", ".##...", "......")
WIDE = drawn("####..", "####..", "####..", "######")


def annotation(segmentation: Any, category: int = 3, **changes: Any) -> dict[str, Any]:
    entry = {"image_id": 1, "category_id": category, "iscrowd": 0, "segmentation": segmentation}
    return {"id": 9} | entry | changes


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a file of one image, with the eight classes as categories 1..8."""
    image = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)]
    lists = {"images": [image], "annotations": list(annotations), "categories": categories}
    return {"info": {"year": 2026}} | lists | changes


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (10, 20, 30)).save(path)


def write(root: Path, content: Any, *, name: str = "annotations/instances_train.json") -> Path:
    """Write an annotation file, as JSON unless it is bytes, and the picture a.png."""
    picture(root / "a.png")
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return root


def ids_of(root: Path) -> list[list[int]]:
    return CocoFolder(root).read_labels(0).ids.tolist()


@pytest.mark.parametrize("text", [False, True], ids=["counts", "text"])
@pytest.mark.parametrize("index", [0, 37])
def test_read_labels__toystreets_scene(tmp_path: Path, index: int, text: bool) -> None:
    scene = render_scene(seed=6, domain="camera", split="train", index=index, size=(64, 128))
    masks = [(scene.ids == k, label, 0) for k, label in enumerate(scene.labels.tolist(), start=1)]
    masks += [(scene.group == g, g - 1, 1) for g in np.unique(scene.group[scene.group > 0])]
    entries = [annotation(rle(m, text=text), int(c) + 1, iscrowd=crowd) for m, c, crowd in masks]
    images = [{"id": 1, "file_name": "a.png", "height": 64, "width": 128}]
    write(tmp_path, document(*entries, images=images))
    picture(tmp_path / "a.png", (64, 128))
    read = CocoFolder(tmp_path).read_labels(0)
    np.testing.assert_array_equal(read.ids, scene.ids)
    np.testing.assert_array_equal(read.labels, scene.labels)
    expected = np.where(scene.ids == 0, 255, scene.semantic)  # nothing is said of the rest
    np.testing.assert_array_equal(read.semantic, expected)


def test_read_labels__polygons(tmp_path: Path) -> None:
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 2, 6, 2, 6, 4, 4, 4.0]]
    write(tmp_path, document(annotation(parts, 5)))
    read = CocoFolder(tmp_path).read_labels(0)
    mask = drawn("##....", "##....", "....##", "....##")
    assert read.ids.tolist() == mask.astype(int).tolist()
    assert read.semantic.tolist() == np.where(mask, 15, 255).tolist()
    assert read.labels.tolist() == [4]


@pytest.mark.parametrize("small_first", [True, False])
def test_read_labels__the_smaller_object_lies_on_top(tmp_path: Path, small_first: bool) -> None:
    entries = [annotation(rle(BLOCK), 1), annotation(rle(WIDE), 3)]
    write(tmp_path, document(*entries if small_first else entries[::-1]))
    read = CocoFolder(tmp_path).read_labels(0)
    small = 1 if small_first else 2
    np.testing.assert_array_equal(read.ids == small, BLOCK)
    np.testing.assert_array_equal(read.ids == 3 - small, WIDE & ~BLOCK)
    np.testing.assert_array_equal(read.semantic == 11, BLOCK)


def test_read_labels__covered_and_empty_objects_are_left_out(tmp_path: Path) -> None:
    empty, point = np.zeros(SIZE, dtype=bool), [1.0] * 6
    masks = (rle(BLOCK), rle(empty), [point], rle(BLOCK))
    write(tmp_path, document(*(annotation(mask, c) for c, mask in enumerate(masks, start=1))))
    read = CocoFolder(tmp_path).read_labels(0)
    assert read.labels.tolist() == [3]
    np.testing.assert_array_equal(read.ids, BLOCK)


def test_read_labels__crowds_are_ignored_below_objects(tmp_path: Path) -> None:
    crowd = annotation(rle(BLOCK), 1, iscrowd=1)
    corner = drawn(".#....", ".#....", "......", "......")
    write(tmp_path, document(annotation(rle(corner), 3), crowd))
    read = CocoFolder(tmp_path).read_labels(0)
    np.testing.assert_array_equal(read.ids, np.where(corner, 1, -BLOCK.astype(int)))
    np.testing.assert_array_equal(read.semantic == 11, BLOCK & ~corner)


def test_read_labels__small_objects_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, document(annotation(rle(BLOCK))))
    options = DatasetOptions(objects=ObjectFilter(min_area=5))
    read = CocoFolder(tmp_path, options=options).read_labels(0)
    np.testing.assert_array_equal(read.ids, -BLOCK.astype(int))


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("Pedestrian", "person"),
        ("cyclist", "rider"),
        (" CAR ", "car"),
        ("pickup_truck", "truck"),
        ("coach", "bus"),
        ("tram", "train"),
        ("Motor-Bike", "motorcycle"),
        ("motorbike", "motorcycle"),
        ("bike", "bicycle"),
    ],
)
def test_label_of__common_names(category: str, name: str) -> None:
    assert label_of(category) == NAMES.index(name)


def test_read_labels__unknown_categories_are_background_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    categories = [{"id": 7, "name": "tree"}, {"id": 900, "name": "bike"}, {"id": 8, "name": "dog"}]
    entries = (annotation(rle(WIDE), 7), annotation([], 8), annotation(rle(BLOCK), 900))
    write(tmp_path, document(*entries, categories=categories))
    with caplog.at_level(logging.WARNING):
        read = CocoFolder(tmp_path).read_labels(0)
    np.testing.assert_array_equal(read.ids, BLOCK)
    assert read.labels.tolist() == [7]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "categories 'tree', 'dog' are none of the eight classes" in said


def categories(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]


def mapped(root: Path, **names: str | None) -> CocoFolder:
    class_map = ClassMap(tuple(sorted(names.items())), "map.yaml")
    return CocoFolder(root, options=DatasetOptions(class_map=class_map))


def test_class_map__says_what_categories_are(tmp_path: Path) -> None:
    made = document(
        annotation(rle(BLOCK), 1),
        annotation(rle(WIDE), 2),
        categories=categories("Ox-Cart", "car", "dog"),
    )
    write(tmp_path, made)
    tree = mapped(tmp_path, **{"ox cart": "truck", "car": None, "dog": None})
    read = tree.read_labels(0)
    assert read.labels.tolist() == [3]
    np.testing.assert_array_equal(read.ids, BLOCK)
    np.testing.assert_array_equal(read.semantic, np.where(BLOCK, 14, 255))
    assert tree.unnamed_classes() == {}  # both are nothing because the map says so


def test_class_map__what_it_does_not_name_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = document(
        annotation(rle(BLOCK), 1),
        annotation(rle(WIDE), 2),
        annotation(rle(WIDE), 2),
        categories=categories("ox", "car", "dog"),
    )
    write(tmp_path, made)
    with caplog.at_level(logging.WARNING):
        tree = mapped(tmp_path, ox="truck")
    assert tree.unnamed_classes() == {"car": 2, "dog": 0}
    (said,) = [record.getMessage() for record in caplog.records]
    assert "categories 'car', 'dog' are none of the eight classes by map.yaml" in said


def test_class_map__that_gives_no_category_a_class(tmp_path: Path) -> None:
    write(tmp_path, document(categories=categories("ox")))
    with pytest.raises(UserError, match=r"by map\.yaml, got 'ox'.*Write a class map"):
        mapped(tmp_path, ox=None)


def test_unnamed_classes__without_a_map_are_those_of_no_usual_name(tmp_path: Path) -> None:
    made = document(annotation(rle(BLOCK), 2), categories=categories("car", "dog"))
    write(tmp_path, made)
    assert CocoFolder(tmp_path).unnamed_classes() == {"dog": 1}
    assert CocoFolder(tmp_path, require_labels=False).unnamed_classes() == {}


@pytest.mark.parametrize("folder", ["", "images", "train", "images/train"])
def test_records__where_the_images_lie(tmp_path: Path, folder: str) -> None:
    listed = [{"id": n, "file_name": f"b/{n}.png"} for n in (10, 9, 2)]
    write(tmp_path, document(images=listed), name="annotations/train.json")
    for n in (10, 9, 2, 77):  # the last is of another split
        picture(tmp_path / folder / f"b/{n}.png")
    records = CocoFolder(tmp_path).records
    assert [r.sample_id for r in records] == ["2", "9", "10"]
    assert [r.image for r in records] == [tmp_path / folder / f"b/{n}.png" for n in (2, 9, 10)]


def test_records__names_are_as_long_as_they_must_be(tmp_path: Path) -> None:
    names = ["left/1.png", "right/1.png"]
    write(tmp_path, document(images=[{"id": n, "file_name": n} for n in names]))
    for name in names:
        picture(tmp_path / name)
    assert [r.sample_id for r in CocoFolder(tmp_path).records] == ["left/1", "right/1"]


def test_records__dots_and_doubled_slashes_in_names(tmp_path: Path) -> None:
    names = ["./a.b.png", "c.d//e", "c.d/.f.png/g.png"]
    write(tmp_path, document(images=[{"id": n, "file_name": n} for n in names]))
    for name in (names[0], names[2]):
        picture(tmp_path / name)
    (tmp_path / "c.d/e").touch()
    assert [r.sample_id for r in CocoFolder(tmp_path).records] == ["a.b", "e", "g"]


@pytest.mark.parametrize("head", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escapes", "UTF-8"])
def test_read_labels__places_in_the_file(tmp_path: Path, head: str, ascii_only: bool) -> None:
    """Line ends of Windows, text of several bytes a character, annotations before images."""
    content = document(
        annotation(rle(BLOCK), 1, image_id="ü"),
        annotation(rle(WIDE), 2, image_id="straße", note="日本語"),
        annotation(rle(WIDE), 3, image_id="ü"),
        images=[{"id": "straße", "file_name": "straße 1.png"}, {"id": "ü", "file_name": "a.png"}],
    )
    content = {"annotations": content.pop("annotations")} | content
    text = head + json.dumps(content, ensure_ascii=ascii_only, indent=1).replace("\n", "\r\n")
    root = write(tmp_path / "mes données", text.encode())
    picture(root / "straße 1.png")
    dataset = open_dataset(
        DatasetRef.model_validate({"format": "coco", "root": str(root)}),
        domain="source",
        labels="instances",
    )
    assert [r.sample_id for r in dataset.records] == ["a", "straße 1"]
    assert dataset.read_labels(0).labels.tolist() == [0, 2]
    assert dataset.sample(1).known_instances().labels.tolist() == [1]


def test_read_labels__jpeg_without_listed_size_in_another_process(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "sub\\b.jpg"}
    write(tmp_path, document(annotation(rle(BLOCK)), images=[image]))
    picture(tmp_path / "sub/b.jpg")
    travelled = pickle.loads(pickle.dumps(CocoFolder(tmp_path)))
    np.testing.assert_array_equal(travelled.sample(0).instances.ids, BLOCK)


def test_options__own_annotation_file(tmp_path: Path) -> None:
    write(tmp_path, document(annotation(rle(BLOCK))), name="labels/mine.json")
    options = DatasetOptions(annotations=Path("labels/mine.json"))
    assert CocoFolder(tmp_path, "any", options=options).read_labels(0).labels.tolist() == [2]


def test_coco_folder__without_labels_only_the_images_of_the_split(tmp_path: Path) -> None:
    write(tmp_path, document({"id": "nonsense"}, annotation("nonsense", 77)))
    picture(tmp_path / "of_val.png")
    dataset = CocoFolder(tmp_path, require_labels=False, domain="target")
    assert [(r.sample_id, r.labels, r.domain) for r in dataset.records] == [("a", (), "target")]


@pytest.mark.parametrize("folder", ["", "images", "train", "images/train"])
def test_coco_folder__without_annotations(tmp_path: Path, folder: str) -> None:
    for name in ("10.png", "9.JPG"):
        picture(tmp_path / folder / name)
    (tmp_path / folder / "notes.txt").write_text("no image")
    dataset = CocoFolder(tmp_path, require_labels=False)
    assert [r.sample_id for r in dataset.records] == ["9", "10"]


def test_coco_folder__without_annotations_another_split_is_not_everything(tmp_path: Path) -> None:
    picture(tmp_path / "images/1.png")
    with pytest.raises(UserError, match=r"root must hold images, .* split 'val'"):
        CocoFolder(tmp_path, "val", require_labels=False)


def image_entry(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "file_name": "a.png"} | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be whole JSON, got Expecting value"),
        (b'{"images": [', "must be whole JSON, got Expecting value"),
        (b'{"annotations": [{"id": 1, "seg', "must be whole JSON, got Unterminated string"),
        (json.dumps(document()).encode() + b" x", "must be whole JSON, got Extra data"),
        (b"[1, 2]", "have COCO's layout: Expected `object`, got `array`"),
        (b'{"annotations": {}}', r"Expected `array`, got `object` - at `\$.annotations`"),
        (b'{"a": ' + b"[" * 100_000, "must be well-formed, got .*recursion"),
        (
            b'{"images": [{"id": 1, "file_name": "\xff"}]}',
            "must be well-formed, got .*can't decode",
        ),
        ({"images": 3}, r"Expected `array`, got `int` - at `\$.images`"),
        (document(images=[]), "must list images, got none"),
        (document(categories=None), r"Expected `array`, got `null` - at `\$.categories`"),
        (
            {k: v for k, v in document().items() if k != "annotations"},
            "missing required field `annotations`",
        ),
        (document(images=[{"id": 1}]), r"field `file_name` - at `\$.images\[0\]`"),
        (document(images=[image_entry()] * 2), "image must be listed once, got id 1, 'a.png'"),
        (document(images=[image_entry(width=0)]), r"`int` >= 1 - at `\$.images\[0\].width`"),
        (document(images=[image_entry(width=6)]), r"both height and width, got one \(a.png\)"),
        (document(images=[image_entry(file_name="../a.png")]), r"lead down .* got '\.\./a.png'"),
        (document(categories=[{"id": 1}]), r"field `name` - at `\$.categories\[0\]`"),
        (
            document(categories=[{"id": 1, "name": n} for n in ("car", "bus")]),
            "category id must be given once, got 1 for 'bus' again",
        ),
        (
            document(categories=[{"id": 1, "name": "boat"}]),
            "categories must name at least one of .* got 'boat'",
        ),
        (document(4), r"Expected `object`, got `int` - at `\$.annotations\[0\]`"),  # type: ignore[arg-type]
        (
            document(annotation([], image_id=None)),
            r"got `null` - at `\$.annotations\[0\].image_id`",
        ),
        (document(annotation([], image_id=3)), "image_id must be listed, got 3 in 1 annotations"),
        (document(annotation([], 9)), "category_id must be listed, got 9 in 1 annotations"),
        (document(annotation([])), "annotation 9: segmentation must be polygons .* length >= 1"),
        (document(annotation([[1, 2, 3, 4, 5, float("nan")]])), r"annotation 9: .* got `null`"),
        (document(annotation([[1, 1, 2, 2, 3, "4"]])), r"annotation 9: .* got `str`"),
        (document(annotation([1, 2, 3, 4, 5, 6])), "annotation 9: .* Expected `array`, got `int`"),
        (document(annotation([[1] * 7])), "polygon must have pairs .* got 7 numbers"),
        (document(annotation([[1] * 4])), "annotation 9: .* `array` of length >= 6"),
        (document(annotation({"size": [4, 6]})), "annotation 9: .* field `counts`"),
    ],
)
def test_coco_folder__malformed_file(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}") as caught:
        CocoFolder(write(tmp_path, content))
    assert "annotations/instances_train.json" in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 256, "a/" * 2500 + "b"], ids=["part", "path"])
def test_coco_folder__names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"images must lie where .* got no 'a"):
        CocoFolder(write(tmp_path, document(images=[image_entry(file_name=name)])))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (rle(np.ones((6, 4), dtype=bool)), r"size must be the image's \[4, 6\], got \[6, 4\]"),
        ({"size": list(SIZE), "counts": [4, 4]}, "counts must fill 4x6 pixels, got 8"),
        ({"size": list(SIZE), "counts": [4, -4, 24]}, "counts must be text, or a list of run"),
        ({"size": list(SIZE), "counts": "444"}, "must fill 4x6 pixels, got '444'"),
        ({"size": list(SIZE), "counts": "日"}, "must fill 4x6 pixels"),
        ([[1, 1, 2, 2, 3, 1e9]], "within or near the image"),
    ],
)
def test_read_labels__malformed_mask(tmp_path: Path, segmentation: Any, message: str) -> None:
    dataset = CocoFolder(write(tmp_path, document(annotation(segmentation))))
    with pytest.raises(
        UserError, match=rf"{message}.* annotation 9 \(.*_train.json, image .*a.png"
    ):
        dataset.read_labels(0)


def test_coco_folder__every_fault_is_counted(tmp_path: Path) -> None:
    entries = [annotation([[1] * 5], id=n) for n in range(7)]
    with pytest.raises(TreeError, match="got 7 faults") as caught:
        CocoFolder(write(tmp_path, document(*entries)))
    assert len(caught.value.faults) == 7
    assert "annotation 4: segmentation must be polygons" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_read_labels__image_of_another_size_than_listed(tmp_path: Path) -> None:
    dataset = CocoFolder(write(tmp_path, document(annotation(rle(BLOCK)))))
    picture(tmp_path / "a.png", (5, 5))
    with pytest.raises(UserError, match=r"lists, \(4, 6\), got \(5, 5\) \(.*a.png, .*_train.json"):
        dataset.read_labels(0)


@pytest.mark.parametrize(("kept", "got"), [(0, "an empty file"), (50, "cut short")])
def test_sample__damaged_image(tmp_path: Path, kept: int, got: str) -> None:
    dataset = CocoFolder(write(tmp_path, document(annotation(rle(BLOCK)))))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"{got}.*a.png"):
        dataset.sample(0)


def test_read_labels__are_those_of_the_opened_file(tmp_path: Path) -> None:
    dataset = CocoFolder(write(tmp_path, document(annotation(rle(BLOCK)))))
    write(tmp_path, document(annotation(rle(BLOCK), 1), annotation(rle(WIDE))))
    assert dataset.read_labels(0).labels.tolist() == [2]
    assert CocoFolder(tmp_path).read_labels(0).labels.tolist() == [0, 2]
    (tmp_path / "annotations/instances_train.json").unlink()
    with pytest.raises(UserError, match=r"got no .*/annotations/instances_train.json"):
        CocoFolder(tmp_path)


def test_coco_folder__missing_images(tmp_path: Path) -> None:
    listed = [image_entry(), image_entry(id=2, file_name="b/c.png")]
    write(tmp_path, document(annotation(rle(BLOCK)), images=listed))
    with pytest.raises(TreeError, match=r"got 1 of 2 missing: .*b/c.png") as caught:
        CocoFolder(tmp_path)
    left_out = {fault.path for fault in caught.value.faults}
    assert [r.sample_id for r in CocoFolder(tmp_path, left_out=left_out).records] == ["a"]


@pytest.mark.parametrize(("name", "shown"), [("b.png", "b.png"), ("\ud800", r"\?")])
def test_coco_folder__no_image_at_all(tmp_path: Path, name: str, shown: str) -> None:
    write(tmp_path, document(images=[image_entry(file_name=name)]))
    with pytest.raises(UserError, match=rf"got no '{shown}' in .*/images/train"):
        CocoFolder(tmp_path)


@pytest.mark.parametrize("require_labels", [True, False])
def test_coco_folder__other_split(tmp_path: Path, require_labels: bool) -> None:
    write(tmp_path, document())
    message = r"'val' must have .* got no .*val.json .*in annotations: instances_train.json"
    with pytest.raises(UserError, match=message):
        CocoFolder(tmp_path, "val", require_labels=require_labels)


def test_coco_folder__no_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder of images, got no such folder \(.*nowhere"):
        CocoFolder(tmp_path / "nowhere")


def test_read_instance_ids__what_no_object_covers_is_background_not_void(tmp_path: Path) -> None:
    crowd = drawn("....##", "......", "......", "......")
    write(tmp_path, document(annotation(rle(BLOCK)), annotation(rle(crowd), 1, iscrowd=1)))
    raw = CocoFolder(tmp_path).read_instance_ids(0)
    expected = np.full(SIZE, BACKGROUND_LABEL_ID)
    expected[BLOCK], expected[crowd] = 26_000, 24
    np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize(("protocol", "measure"), [("cityscapes", "AP"), ("thing_pixels", "mIoU")])
def test_evaluate__a_detection_on_the_background_is_false(
    tmp_path: Path, protocol: str, measure: str
) -> None:
    large, elsewhere = np.zeros((2, 64, 128), dtype=bool)
    large[10:30, 10:30] = elsewhere[40:60, 70:110] = True
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 128}
    write(tmp_path, document(annotation(rle(large)), images=[image]))
    picture(tmp_path / "a.png", (64, 128))
    scores: list[float] = []
    for found in ([large], [large, elsewhere]):
        score = accumulators((protocol,))
        masks = [ScoredMask(2, 0.8 + 0.1 * k, mask) for k, mask in enumerate(found)]
        judge_image(score, CocoFolder(tmp_path), 0, masks)
        scores.append(results_json(score)[protocol][measure])
    assert scores[0] == 1
    assert scores[1] < 0.5


def test_read_instance_ids__crowds_of_own_classes_are_their_own(tmp_path: Path) -> None:
    crowd = drawn("....##", "....##", "......", "......")
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    entries = (annotation(rle(BLOCK), 2), annotation(rle(crowd), 2, iscrowd=1))
    write(tmp_path, document(*entries, categories=categories))
    own = ClassMap((("car", "car"), ("dog", "dog")), things=ThingClasses(("dog",)))
    raw = CocoFolder(tmp_path, options=DatasetOptions(class_map=own)).read_instance_ids(0)
    expected = np.full(SIZE, BACKGROUND_LABEL_ID)
    dog = own.things.label_ids[NUM_THINGS]
    expected[BLOCK], expected[crowd] = dog * 1000, dog
    np.testing.assert_array_equal(raw, expected)
    found = [(entry["category_id"], entry["iscrowd"]) for entry in annotations_of(raw)]
    assert sorted(found) == [(NUM_THINGS + 1, 0), (NUM_THINGS + 1, 1)]


def test_coco_folder__the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, document(annotation(rle(BLOCK))))
    (tmp_path / "images").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "images/a.png")
    monkeypatch.chdir(tmp_path)
    assert CocoFolder(Path()).records[0].image == Path("images/a.png")


def test_coco_folder__the_mask_of_the_ego_vehicle_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "ego_vehicle.png"):
        picture(tmp_path / name)
    records = CocoFolder(tmp_path, require_labels=False).records
    assert [record.sample_id for record in records] == ["a"]
