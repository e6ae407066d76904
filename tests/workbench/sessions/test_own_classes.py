"""A class beside the eight in FiftyOne: counted, coloured, judged as `uda4inst evaluate` does."""

from __future__ import annotations

from pathlib import Path

import inspection
import pytest

inspection.require_database()

from own_classes import OWN, THINGS, open_own, write_own_data

from uda4inst.colors import CLASS_COLORS
from uda4inst.data.config import DatasetRef
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    read_predictions,
    to_line,
    writing_text,
)
from workbench.sessions import evaluation
from workbench.sessions.convert import to_predictions
from workbench.sessions.data_session import open_data_session
from workbench.sessions.evaluation_views import save_evaluation_views
from workbench.sessions.library import fo
from workbench.sessions.request import DataRequest, Side
from workbench.sessions.samples import hex_color
from workbench.sessions.things import count_field, things_of

pytestmark = pytest.mark.inspection


@pytest.fixture
def data(toy: Path, tmp_path: Path) -> Path:
    return write_own_data(toy, tmp_path / "data")


@pytest.fixture
def opened(data: Path) -> fo.Dataset:
    values = {"format": "coco", "root": str(data / "val"), "split": "val"}
    ref = DatasetRef.model_validate({**values, "class_map": str(data / "map.yaml")})
    return open_data_session(DataRequest(f"own {data}", (Side("target", ref),))).dataset


def test_session__counts_colours_and_views_know_the_class(data: Path, opened: fo.Dataset) -> None:
    tree = open_own(data)
    there = sum(tree.read_labels(i).labels.tolist().count(8) for i in range(len(tree)))
    assert there > 0
    assert things_of(opened) == THINGS
    assert opened.sum(count_field(OWN)) == there
    assert opened.count_values("ground_truth.detections.label")[OWN] == there
    fields = {f["path"]: f for f in opened.app_config.color_scheme.fields}
    colors = {v["value"]: v["color"] for v in fields["ground_truth"]["valueColors"]}
    assert colors[OWN] == hex_color(CLASS_COLORS[8])
    assert opened.classes["ground_truth"] == list(THINGS.names)


@pytest.mark.parametrize("method", [evaluation.CITYSCAPES, evaluation.COCO])
def test_evaluation__scores_are_those_of_the_command(
    data: Path, opened: fo.Dataset, tmp_path: Path, method: str
) -> None:
    tree = open_own(data)
    path = tmp_path / "found.jsonl.gz"
    with writing_text(path, compressed=True) as write:
        for index in range(len(tree)):
            record = tree.read_labels(index)
            rows = [
                ScoredMask(8 if k % 3 == 2 else label, 0.9 - 0.01 * k, record.ids == k + 1)
                for k, label in enumerate(record.labels.tolist())
            ]
            size = tree.size_of(index)
            write(to_line(ImagePredictions(tree.basename(index), size, tuple(rows))))
    images = {image.sample_id: image for image in read_predictions(path)}
    for sample in opened.iter_samples(autosave=True):
        sample["found"] = to_predictions(images[sample.image_name], THINGS.names)
    evaluation.register()
    results = opened.evaluate_detections(
        "found", gt_field="ground_truth", eval_key="key", method=method
    )
    expected = evaluate_predictions(path, tree)["cityscapes" if "city" in method else "coco"]
    assert 0 < expected["per_class"][OWN]["AP"] < 1
    assert results.scores["per_class"] == expected["per_class"]
    assert f"key: false positives of {OWN}" in save_evaluation_views(opened, "key")
