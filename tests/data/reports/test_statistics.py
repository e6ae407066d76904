"""Statistics of data sets: counted from hand-written trees, and the rare classes they propose."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import GTA5, Cityscapes, Synthia, UrbanSyn
from uda4inst.data.reports.statistics import (
    ClassStatistics,
    DatasetStatistics,
    collect_statistics,
)
from uda4inst.data.reports.statistics_text import plot_statistics
from uda4inst.data.tree import DatasetOptions, ObjectFilter
from uda4inst.errors import UserError
from uda4inst.toystreets.write import ToyStreetsTree

# Published: a training log of the UDA4Inst authors lists these instances of UrbanSyn.
URBANSYN_COUNTS = (70219, 7178, 32872, 2326, 1928, 450, 3229, 3964)
# The paper gives shares of the rare classes alone; the other counts fill up to 100,000.
SYNTHIA_COUNTS = (50000, 9000, 30740, 0, 2080, 0, 2180, 6000)
SYNSCAPES_COUNTS = (40000, 7000, 30000, 4540, 3000, 2550, 5910, 7000)


def of_counts(counts: tuple[int, ...]) -> DatasetStatistics:
    total = sum(counts)
    classes = tuple(
        ClassStatistics(name, count, count / max(total, 1), count, (1.0, 2.0, 3.0), None)
        for name, count in zip(THING_NAMES, counts, strict=True)
    )
    return DatasetStatistics("UrbanSyn", Path("/data"), "train", 7563, 44, classes)


def write_cityscapes(root: Path, raw_maps: list[list[list[int]]]) -> Cityscapes:
    """Write one image of each map of raw instance ids, and open the tree."""
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "train" / "aachen").mkdir(parents=True)
    for number, raw in enumerate(raw_maps):
        name = f"train/aachen/aachen_{number:06d}_000019"
        values = np.array(raw, dtype=np.uint16)
        image = np.zeros((*values.shape, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "leftImg8bit" / f"{name}_leftImg8bit.png"), image)
        cv2.imwrite(str(root / "gtFine" / f"{name}_gtFine_instanceIds.png"), values)
    return Cityscapes(root, "train")


def write_urbansyn(root: Path, hidden_percent: list[float]) -> UrbanSyn:
    """Write one image with a person of two pixels for each given occlusion, and open the tree."""
    for kind in ("rgb", "ss", "panoptic", "bbox2d"):
        (root / kind).mkdir(parents=True)
    count = len(hidden_percent)
    colors = [[number, 0, 11, 255] for number in range(1, count + 1)]
    panoptic = np.array([colors, colors], dtype=np.uint8)
    Image.fromarray(panoptic[..., :3]).save(root / "rgb/rgb_0001.png")
    Image.fromarray(panoptic).save(root / "panoptic/panoptic_0001.png")
    Image.fromarray(np.full((2, count), 11, dtype=np.uint8)).save(root / "ss/ss_0001.png")
    boxes = [
        {"color": color, "label": "person", "occlusion_percentage": percent, "bbox": {}}
        for color, percent in zip(colors, hidden_percent, strict=True)
    ]
    (root / "bbox2d/bbox2d_0001.json").write_text(json.dumps(boxes))
    return UrbanSyn(root)


@pytest.mark.parametrize(
    ("counts", "human_cycle", "vehicle"),
    [
        pytest.param(URBANSYN_COUNTS, "motorcycle", "train", id="urbansyn"),
        pytest.param(SYNTHIA_COUNTS, "motorcycle", "bus", id="synthia"),
        pytest.param(SYNSCAPES_COUNTS, "motorcycle", "train", id="synscapes"),
    ],
)
def test_rare_classes__of_published_counts(
    counts: tuple[int, ...], human_cycle: str, vehicle: str
) -> None:
    assert of_counts(counts).rare_classes() == {"human_cycle": human_cycle, "vehicle": vehicle}


def test_rare_classes__other_groups_and_ties() -> None:
    statistics = of_counts((5, 5, 9, 0, 0, 0, 0, 7))
    groups = {"all": THING_NAMES, "large": ("truck", "bus", "train"), "two": ("bicycle", "car")}
    assert statistics.rare_classes(groups) == {"all": "person", "two": "bicycle"}


def test_collect_statistics__counts_shares_images_and_areas(tmp_path: Path) -> None:
    dataset = write_cityscapes(
        tmp_path,
        [
            [[26000, 26000, 26000, 26000], [26001, 26001, 24000, 7]],
            [[7, 7, 7, 26], [8, 8, 8, 26]],
            [[26000, 7, 7, 7], [7, 7, 7, 7]],
        ],
    )
    statistics = collect_statistics(dataset)
    person, car = statistics.classes[0], statistics.classes[2]
    assert (statistics.images, statistics.images_without_instances) == (3, 1)
    assert (car.instances, car.share, car.images, car.occlusion_mean) == (3, 0.75, 2, None)
    assert car.area_quantiles == pytest.approx((1.2, 2.0, 3.6))
    assert car.area_histogram[:4] == (1, 1, 1, 0)
    assert (person.instances, person.share, person.area_quantiles) == (1, 0.25, (1.0, 1.0, 1.0))
    assert statistics.rare_classes() == {"human_cycle": "person", "vehicle": "car"}


def test_collect_statistics__mean_occlusion(tmp_path: Path) -> None:
    statistics = collect_statistics(write_urbansyn(tmp_path, [20, 60, 100]))
    assert statistics.classes[0].occlusion_mean == pytest.approx(0.6)
    assert statistics.classes[1].occlusion_mean is None


def test_collect_statistics__filtered_objects_do_not_count(tmp_path: Path) -> None:
    write_urbansyn(tmp_path, [20, 60, 100])
    options = DatasetOptions(objects=ObjectFilter(max_occlusion=0.5))
    statistics = collect_statistics(UrbanSyn(tmp_path, options=options))
    assert statistics.classes[0].instances == 1


def test_collect_statistics__no_instance_anywhere(tmp_path: Path) -> None:
    statistics = collect_statistics(write_cityscapes(tmp_path, [[[7, 8]]]))
    assert statistics.rare_classes() == {}
    assert all(
        entry.share == 0 and math.isnan(entry.area_quantiles[1]) for entry in statistics.classes
    )
    assert json.loads(json.dumps(statistics.to_json(), allow_nan=False))["instances"] == 0


def test_collect_statistics__limit_spreads_over_the_tree(tmp_path: Path) -> None:
    maps = [[[24000 + 1000 * (number == 4), 7]] for number in range(5)]
    dataset = write_cityscapes(tmp_path, maps)
    calls: list[tuple[int, int]] = []
    statistics = collect_statistics(dataset, limit=2, progress=lambda *call: calls.append(call))
    assert statistics.images == 2
    assert [entry.instances for entry in statistics.classes[:2]] == [1, 1]
    assert calls == [(1, 2), (2, 2)]


def test_collect_statistics__refuses_what_has_no_instances(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        Image.new("RGB" if kind == "images" else "L", (4, 4)).save(tmp_path / kind / "00001.png")
    with pytest.raises(UserError, match="must have instances to be counted, got GTA5"):
        collect_statistics(GTA5(tmp_path))


def test_collect_statistics__damaged_file_is_named(own_tree: ToyStreetsTree) -> None:
    (own_tree.source_root / "ss/ss_0003.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"ss_0003\.png"):
        collect_statistics(UrbanSyn(own_tree.source_root))


@pytest.mark.slow
def test_collect_statistics__processes_count_the_same(tree: ToyStreetsTree) -> None:
    dataset = UrbanSyn(tree.source_root)
    assert collect_statistics(dataset, workers=2) == collect_statistics(dataset, workers=0)


def test_data_sets__travel_to_other_processes(tree: ToyStreetsTree) -> None:
    dataset = pickle.loads(pickle.dumps(UrbanSyn(tree.source_root)))
    assert collect_statistics(dataset, workers=0).images == 6


def test_classes_a_format_cannot_hold__are_marked() -> None:
    assert Synthia.things == (0, 1, 2, 4, 6, 7)
    statistics = of_counts(SYNTHIA_COUNTS)
    classes = list(statistics.classes)
    classes[3] = dataclasses.replace(classes[3], can_occur=False)
    lines = dataclasses.replace(statistics, classes=tuple(classes)).to_text().splitlines()
    assert [line.split() for line in lines if "truck" in line] == [["truck", *"-" * 7]]
    assert "- the format has no such class" in lines


def test_to_text__marks_the_rare_classes() -> None:
    lines = of_counts(URBANSYN_COUNTS).to_text().splitlines()
    assert lines[0] == "UrbanSyn train: 122,166 instances in 7,563 images, 44 of them without"
    assert [line.split()[:3] for line in lines if " * " in line] == [
        ["train", "*", "450"],
        ["motorcycle", "*", "3,229"],
    ]


def test_to_json__holds_the_full_numbers() -> None:
    stored = json.loads(json.dumps(of_counts(URBANSYN_COUNTS).to_json()))
    assert stored["instances"] == 122166
    assert stored["rare_classes"] == {"human_cycle": "motorcycle", "vehicle": "train"}
    assert [entry["instances"] for entry in stored["classes"]] == list(URBANSYN_COUNTS)
    assert stored["classes"][5]["share"] == 450 / 122166


@pytest.mark.parametrize("counts", [URBANSYN_COUNTS, (0,) * 8], ids=["published", "nothing"])
def test_plot_statistics__writes_a_picture(tmp_path: Path, counts: tuple[int, ...]) -> None:
    path = plot_statistics(of_counts(counts), tmp_path / "plot.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 400


def test_plot_statistics__of_a_tree(tree: ToyStreetsTree, tmp_path: Path) -> None:
    statistics = collect_statistics(UrbanSyn(tree.source_root), workers=0)
    assert plot_statistics(statistics, tmp_path / "plot.svg").stat().st_size > 1000
