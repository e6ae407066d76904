"""`uda4inst init` as people type it: every format, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import Cli, in_process
from published_trees import IMAGES, SIZE, save, scene, write_tree

from uda4inst.data.readers import DATASETS
from uda4inst.formats.class_map import read_class_map
from uda4inst.run_folder.evaluations import last_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.batches import open_data
from uda4inst.training.config import load_config

SPLITS = {"cityscapes": ("train", "val"), "kitti360": ("train", "val"), "bdd100k": ("train",)}


@pytest.fixture
def uda4inst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Run a command in an empty folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys)


def write_bdd100k(root: Path) -> None:
    """Write images/10k and bitmasks: class, no flags, number in blue and alpha."""
    for index in range(IMAGES):
        picture, _, ids, things = scene("camera", index)
        name = f"images/10k/train/{index:04d}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / name), picture)
        classes = np.concatenate(([0], things + 1))[ids]
        bitmask = np.dstack([ids >> 8, np.zeros_like(ids), classes, ids & 255]).astype(np.uint8)
        save(root / f"labels/ins_seg/bitmasks/train/{index:04d}.png", bitmask)


def write_plain(root: Path) -> None:
    for index in range(IMAGES):
        save(root / f"drive/{index}.png", scene("camera", index)[0])


def coco_document(names: tuple[str, ...], count: int) -> dict[str, object]:
    """Return an annotation file of ToyStreets scenes with the eight classes under other names."""
    annotations: list[dict[str, object]] = []
    for index in range(count):
        _, _, ids, things = scene("render", index)
        for number, thing in enumerate(things.tolist(), start=1):
            flat = (ids == number).T.ravel().astype(np.int8)
            edges = np.flatnonzero(np.diff(flat, prepend=0, append=0))
            counts = np.diff(edges, prepend=0, append=flat.size).tolist()
            mask = {"size": list(SIZE), "counts": counts}
            entry = {"image_id": index, "category_id": thing, "iscrowd": 0, "segmentation": mask}
            annotations.append({"id": len(annotations), **entry})
    images = [{"id": k, "file_name": f"{k}.png"} for k in range(count)]
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


OWN = ("Pedestrian", "cyclist", "passenger_cars", "ox-cart", "coach", "tram", "scooter", "bike")


def write_coco(root: Path, name: str = "annotations/instances_train.json") -> None:
    """Write a COCO folder with names of its own; the pictures lie in images."""
    for index in range(IMAGES):
        save(root / f"images/{index}.png", scene("render", index)[0])
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(coco_document(OWN, IMAGES)))


WRITERS = {"bdd100k": write_bdd100k, "images": write_plain, "coco": write_coco}


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small tree of every format that can be adapted with instances, read-only."""
    root = tmp_path_factory.mktemp("trees")
    published = ("urbansyn", "cityscapes", "synscapes", "synthia", "kitti360")
    found = {name: write_tree(name, root) for name in published}
    for name, write in WRITERS.items():
        write(root / name)
        found[name] = root / name
    return found


def init(*arguments: object) -> list[str]:
    return ["init", "--yes", "--gpu-memory", "0", *map(str, arguments)]


@pytest.mark.parametrize(
    "source", ["urbansyn", "cityscapes", "synscapes", "synthia", "kitti360", "bdd100k", "coco"]
)
def test_init__labelled_formats_as_source(
    uda4inst: Cli, trees: dict[str, Path], source: str
) -> None:
    code, out, err = uda4inst(*init("--source", trees[source], "--target", trees["images"]))
    assert code == 0, err
    config = load_config("own.yaml")
    assert (config.data.source.format, config.data.source.root) == (source, str(trees[source]))
    assert config.data.target.format == "images"
    assert f": {source} (train: " in out
    assert len(open_data(config).trees.opened) == 2
    assert uda4inst("data", "check", "own.yaml")[0] == 0


@pytest.mark.parametrize("target", ["cityscapes", "kitti360", "bdd100k", "coco", "images"])
def test_init__every_format_as_target(uda4inst: Cli, trees: dict[str, Path], target: str) -> None:
    code, _, err = uda4inst(*init("--source", trees["urbansyn"], "--target", trees[target]))
    assert code == 0, err
    config = load_config("own.yaml")
    assert config.data.target.format == target
    has_val = target in ("cityscapes", "kitti360")
    assert (config.data.val.format, config.data.val.split) == (
        (target, "val") if has_val else ("images", "train")
    )
    assert (open_data(config).validation is not None) == has_val
    assert uda4inst("data", "check", "own.yaml")[0] in (0, 1 if target == "kitti360" else 0)


def test_formats__all_are_tried_here(trees: dict[str, Path]) -> None:
    assert set(trees) | {"gta5"} == set(DATASETS)


def test_init__what_it_writes_trains_and_is_judged(uda4inst: Cli, trees: dict[str, Path]) -> None:
    write_coco(Path("mine"), "labels.json")
    code, out, _ = uda4inst(*init("--source", "mine", "--target", trees["cityscapes"]))
    assert code == 0
    assert "wrote own.yaml and own_classes.yaml" in out
    short = ["training.stage1_steps=1", "training.stage2_steps=1", "model.num_points=64"]
    assert uda4inst("train", "own.yaml", *short)[0] == 0
    run = RunDir(Path("runs/own"))
    result = last_evaluation(run)
    assert result is not None
    assert result.step == 2
    kept = yaml.safe_load((run.path / "config.yaml").read_text())
    assert kept["data"]["source"]["class_map_hash"] == read_class_map(Path("own_classes.yaml")).hash
    assert kept["data"]["source"]["annotations"] == "labels.json"


def test_init__first_class_map_is_by_names_and_what_they_resemble(
    uda4inst: Cli, trees: dict[str, Path]
) -> None:
    code, out, _ = uda4inst(*init("--source", trees["coco"], "--target", trees["images"]))
    assert code == 0
    assert dict(read_class_map(Path("own_classes.yaml")).names) == {
        "pedestrian": "person",
        "cyclist": "rider",
        "passenger cars": "car",
        "ox cart": None,
        "coach": "bus",
        "tram": "train",
        "scooter": None,
        "bike": "bicycle",
    }
    assert "not found out: What 'ox-cart', 'scooter' are" in out
    assert "not found out: Whether these guesses are right: 'passenger_cars' (car)" in out


def test_init__takes_a_class_map_that_was_edited(uda4inst: Cli, trees: dict[str, Path]) -> None:
    named = dict(
        zip((n.lower() for n in OWN), ("person", "rider", "car", "truck") * 2, strict=True)
    )
    Path("mine.yaml").write_text(yaml.safe_dump({"classes": named}))
    sides = ("--source", trees["coco"], "--target", trees["images"])
    assert uda4inst(*init(*sides, "--class-map", "mine.yaml"))[0] == 0
    assert load_config("own.yaml").data.source.class_map == "mine.yaml"
    assert not Path("own_classes.yaml").exists()


def test_init__asks_for_what_is_not_given(uda4inst: Cli, trees: dict[str, Path]) -> None:
    typed = "\n".join([str(trees["urbansyn"]), str(trees["images"]), str(trees["coco"]), ""]) + "\n"
    code, out, err = uda4inst("init", "--out", "asked.yaml", "--gpu-memory", "0", typed=typed)
    assert code == 0, err
    config = load_config("asked.yaml")
    assert [ref.format for ref in (config.data.source, config.data.target, config.data.val)] == [
        "urbansyn",
        "images",
        "coco",
    ]
    assert "Folder of real images" in out


def test_init__own_classes_are_learned(uda4inst: Cli, trees: dict[str, Path]) -> None:
    sides = ("--source", trees["coco"], "--target", trees["images"])
    own = ("--own", "Ox cart", "--own", "scooter")
    code, _, err = uda4inst(*init(*sides, *own))
    assert code == 0, err
    names = read_class_map(Path("own_classes.yaml"))
    assert names.things.own == ("ox cart", "scooter")
    assert (names.label_of("ox-cart"), names.label_of("Scooter"), names.label_of("tram")) == (
        8,
        9,
        5,
    )
    config = load_config("own.yaml")
    assert config.method.own_classes == ("ox cart", "scooter")
    assert config.method.groups == "one"
    data = open_data(config)
    assert data.trees.source is not None
    assert data.trees.source.thing_classes == names.things


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (("--own", "crane"), "must be names in the annotation files, got crane"),
        (("--own", "car"), "names of their own, got 'car' again"),
        (("--own", "scooter", "--class-map", "map.yaml"), "must be left out with --class-map"),
    ],
)
def test_init__own_classes_that_cannot_be(
    uda4inst: Cli, trees: dict[str, Path], own: tuple[str, ...], words: str
) -> None:
    Path("map.yaml").write_text("classes: {Pedestrian: person}\n")
    code, _, err = uda4inst(*init("--source", trees["coco"], "--target", trees["images"], *own))
    assert code == 2
    assert words in err


def test_init__nobody_to_ask_is_one_message(uda4inst: Cli) -> None:
    code, _, said = uda4inst("init", typed="")
    assert code == 2
    assert "Give --source, --target and --yes." in said
    assert "Aborted" not in said


def test_init__every_setting_says_why(uda4inst: Cli, trees: dict[str, Path]) -> None:
    assert uda4inst(*init("--source", trees["urbansyn"], "--target", trees["cityscapes"]))[0] == 0
    lines = Path("own.yaml").read_text().splitlines()
    bare = [
        line
        for above, line in pairwise(lines)
        if ": " in line and "#" not in (line.strip()[0], above.strip()[0])
    ]
    assert bare == []


def test_init__folder_with_several_formats(uda4inst: Cli, trees: dict[str, Path]) -> None:
    shutil.copytree(trees["urbansyn"], "both")
    write_coco(Path("both"))
    sides = ("--source", "both", "--target", trees["images"])
    code, out, _ = uda4inst(*init(*sides))
    assert code == 0
    assert "source both: urbansyn (train: 4 images with instances), or coco (train: 4" in out
    assert "source: urbansyn is taken" in out
    assert uda4inst(*init(*sides, "--source-format", "coco", "--out", "b.yaml"))[0] == 0
    assert load_config("b.yaml").data.source.format == "coco"


def test_init__asks_which_of_several_formats(uda4inst: Cli, trees: dict[str, Path]) -> None:
    shutil.copytree(trees["urbansyn"], "both")
    write_coco(Path("both"))
    sides = ("--source", "both", "--target", str(trees["cityscapes"]), "--gpu-memory", "0")
    code, _, err = uda4inst("init", *sides, typed="coco\ncityscapes\n")
    assert code == 0, err
    assert load_config("own.yaml").data.source.format == "coco"
    code, _, err = uda4inst("init", *sides, "--out", "b.yaml", typed="cocoa\n")
    assert code == 2
    assert "format must be one of urbansyn, coco, got 'cocoa'" in err


def test_init__unlabelled_train_beside_labelled_val(uda4inst: Cli, trees: dict[str, Path]) -> None:
    for index in range(IMAGES):
        for split in ("train", "valid"):
            save(Path(f"real/{split}/{split}_{index}.png"), scene("camera", index)[0] + index)
    listed = coco_document(OWN, IMAGES)
    listed["images"] = [{"id": k, "file_name": f"valid_{k}.png"} for k in range(IMAGES)]
    Path("real/valid/_annotations.coco.json").write_text(json.dumps(listed))
    assert uda4inst(*init("--source", trees["urbansyn"], "--target", "real"))[0] == 0
    data = load_config("own.yaml").data
    assert (data.target.format, data.target.split) == ("images", "train")
    assert (data.val.format, data.val.split) == ("coco", "valid")
    assert data.val.annotations == "valid/_annotations.coco.json"
    assert data.source.class_map is None
    assert data.val.class_map == "own_classes.yaml"


def test_init__target_labels_are_not_needed(uda4inst: Cli, trees: dict[str, Path]) -> None:
    shutil.copytree(trees["cityscapes"], "city")
    shutil.rmtree("city/gtFine")
    assert uda4inst(*init("--source", trees["urbansyn"], "--target", "city"))[0] == 0
    config = load_config("own.yaml")
    assert config.data.target.format == "cityscapes"
    assert open_data(config).validation is None
    assert uda4inst("data", "check", "own.yaml")[0] == 0


BAD = [
    pytest.param(("--source", "no", "--target", "{images}"), "no such file", id="missing"),
    pytest.param(("--source", "file", "--target", "{images}"), "not a directory", id="file"),
    pytest.param(("--source", "empty", "--target", "{images}"), "an empty one", id="empty"),
    pytest.param(("--source", "texts", "--target", "{images}"), "none that fits", id="no-data"),
    pytest.param(("--source", "{urbansyn}", "--target", "{urbansyn}"), "different", id="same"),
    pytest.param(
        ("--source", "{images}", "--target", "{urbansyn}"),
        "source must have labels",
        id="unlabelled",
    ),
    pytest.param(("--source", "gta", "--target", "{images}"), "a semantic method", id="semantic"),
    pytest.param(("--target", "{images}"), "--source must be given", id="no-source"),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--out", "file"), "must be new", id="out"
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--out", "own"),
        "must be a file NAME.yaml, got own",
        id="no-suffix",
    ),
    pytest.param(
        ("--source", "{coco}", "--target", "{images}", "--out", "taken.yaml"),
        "taken_classes.yaml",
        id="class-map-there",
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--out", "no/a.yaml"),
        "folder that is there",
        id="out-folder",
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--source-format", "coco"),
        "uda4inst data check coco",
        id="format",
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--source-format", "cocoa"),
        "Did you mean coco",
        id="unknown-format",
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{cityscapes}", "--target-split", "test"),
        "target's split must be one of its folder (train, val)",
        id="split",
    ),
    pytest.param(
        ("--source", "{urbansyn}", "--target", "{images}", "--class-map", "map.yaml"),
        "class map must be for names",
        id="map-for-nothing",
    ),
    pytest.param(("--source", "nameless", "--target", "{images}"), "Write a class map", id="names"),
    pytest.param(
        ("--source", "broken", "--target", "{images}"), "uda4inst data check urbansyn", id="broken"
    ),
]


@pytest.fixture
def strange(uda4inst: Cli, trees: dict[str, Path], tmp_path: Path) -> None:
    """Files and folders that are no data set."""
    del uda4inst
    for name in ("empty", "texts"):
        Path(name).mkdir()
    Path("texts/a.txt").write_text("a")
    Path("file").write_text("a")
    Path("taken_classes.yaml").write_text("mine")
    Path("map.yaml").write_text("classes: {a: car}")
    for folder in ("images", "labels"):
        save(Path(f"gta/{folder}/00001.png"), np.full((8, 8), 7, np.uint8))
    write_coco(Path("nameless"))
    path = Path("nameless/annotations/instances_train.json")
    path.write_text(json.dumps(coco_document(tuple("stuvwxyz"), IMAGES)))
    shutil.copytree(trees["urbansyn"], "broken")
    next(Path("broken/ss").iterdir()).unlink()


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_init__refuses_in_one_message_and_writes_nothing(
    uda4inst: Cli, trees: dict[str, Path], arguments: tuple[str, ...], words: str
) -> None:
    before = sorted(Path().rglob("*"))
    code, _, err = uda4inst(*init(*(a.format(**trees) for a in arguments)))
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("error: ") == 1
    assert words.lower() in err.lower()
    assert sorted(Path().rglob("*")) == before


def test_init__folder_above_the_data_set_is_told(uda4inst: Cli, trees: dict[str, Path]) -> None:
    shutil.copytree(trees["urbansyn"], "above/inner")
    for sides in (("above", trees["images"]), (trees["coco"], "above")):
        code, _, err = uda4inst(*init("--source", sides[0], "--target", sides[1]))
        assert code == 2
        assert "above/inner looks like urbansyn: give that" in err
    plain = ("--target", "above", "--target-format", "images")
    assert uda4inst(*init("--source", trees["coco"], *plain))[0] == 0


def test_data_check__configuration_and_more(uda4inst: Cli, trees: dict[str, Path]) -> None:
    assert uda4inst(*init("--source", trees["urbansyn"], "--target", trees["images"]))[0] == 0
    assert "Leave ROOT" in uda4inst("data", "check", "own.yaml", "--split", "train")[2]
    reports = json.loads(uda4inst("data", "check", "own.yaml", "--json")[1])
    assert {side: report["ok"] for side, report in reports.items()} == {
        "source": True,
        "target": True,
    }


def test_data_check__configuration_with_a_fault_ends_with_1(
    uda4inst: Cli, trees: dict[str, Path]
) -> None:
    shutil.copytree(trees["urbansyn"], "src")
    assert uda4inst(*init("--source", "src", "--target", trees["images"]))[0] == 0
    next(Path("src/ss").iterdir()).write_bytes(b"")
    code, out, _ = uda4inst("data", "check", "own.yaml")
    assert code == 1
    assert "source: UrbanSyn train: 4 images, 1 error" in out
