"""Things over pixels: detections and semantic maps by one measure, on the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst.classes import THING_CLASSES, THING_NAMES
from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.scoring import accumulators, evaluate_predictions, results_json
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.evaluation.thing_pixels import ThingPixels, things_of
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, to_line, writing_text
from uda4inst.toystreets.write import ToyStreetsTree, write_toystreets

ROAD, PERSON, CAR, BUS = 0, 11, 13, 15


def row(*ids: int) -> NDArray[np.uint8]:
    return np.array([ids], dtype=np.uint8)


def mask(*pixels: int, width: int = 6) -> NDArray[np.bool_]:
    found = np.zeros((1, width), dtype=bool)
    found[0, list(pixels)] = True
    return found


def thing(train_id: int) -> int:
    return train_id - PERSON


def test_thing_pixels__the_surest_is_on_top_and_the_rest_is_other() -> None:
    scores = ThingPixels()
    truth = row(CAR, CAR, PERSON, ROAD, 255, CAR)
    detections = [
        ScoredMask(thing(PERSON), 0.9, mask(1, 2, 4)),
        ScoredMask(thing(CAR), 0.7, mask(0, 1, 3)),
        ScoredMask(thing(BUS), 0.5, mask(5)),  # not above the score that counts
        ScoredMask(-1, 1.0, mask(0)),  # of none of the eight
    ]
    scores.add(truth, detections)
    found = scores.to_json()
    # car: 1 right of 0 1 5 there and 0 3 said; person: 1 right of 1 there and 1 2 said
    assert found["per_class"]["car"] == {"IoU": 1 / 4, "accuracy": 1 / 3}
    assert found["per_class"]["person"] == {"IoU": 1 / 2, "accuracy": 1.0}
    assert found["per_class"]["bus"] is None
    assert found["mIoU"] == (1 / 4 + 1 / 2) / 2
    assert found["accuracy"] == 2 / 5
    assert found["score"] == 0.5
    assert sum(map(sum, found["confusion"]["pixels"])) == 5


def random_maps(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(19), 255], size=(20, 30)).astype(np.uint8)
    wrong = rng.integers(0, 19, size=truth.shape)
    predicted = np.where((rng.random(truth.shape) < 0.7) & (truth != 255), truth, wrong)
    return truth, predicted.astype(np.uint8)


def as_detections(predicted: NDArray[np.uint8]) -> list[ScoredMask]:
    """A semantic map said by detections: one of each thing class."""
    return [
        ScoredMask(k, 0.6, predicted == c.train_id)
        for k, c in enumerate(THING_CLASSES)
        if (predicted == c.train_id).any()
    ]


@pytest.mark.parametrize("seed", range(4))
def test_thing_pixels__detections_and_a_semantic_map_that_say_the_same_score_the_same(
    seed: int,
) -> None:
    painted, semantic = ThingPixels(), SemanticScores()
    for number in range(3):
        truth, predicted = random_maps(10 * seed + number)
        painted.add(truth, as_detections(predicted))
        semantic.add(truth, predicted)
    assert painted.to_json() == things_of(semantic.counts).to_json()
    scores, things = semantic.to_json(), painted.to_json()
    assert scores["mIoU_things"] == pytest.approx(things["mIoU"], abs=1e-15)
    assert scores["accuracy_things"] == things["accuracy"]
    for name in THING_NAMES:  # merging the others changes no class's IoU
        assert scores["per_class"][name]["IoU"] == things["per_class"][name]["IoU"]


def test_things_of__no_class_is_other() -> None:
    semantic = SemanticScores()
    semantic.add(row(CAR, CAR, ROAD, 255), row(CAR, 255, 255, CAR))
    found = things_of(semantic.counts).to_json()
    assert (found["mIoU"], found["accuracy"]) == (1 / 2, 2 / 3)


def test_thing_pixels__of_some_classes_takes_the_others_for_other() -> None:
    scores = ThingPixels()
    scores.add(row(CAR, PERSON, ROAD, 255, CAR, CAR), [ScoredMask(thing(CAR), 0.9, mask(0, 1))])
    found = scores.to_json(["car", "bus"])
    assert found["per_class"] == {name: None for name in THING_NAMES} | {
        "car": {"IoU": 1 / 4, "accuracy": 1 / 3}
    }
    assert (found["mIoU"], found["accuracy"]) == (1 / 4, 2 / 5)


def test_thing_pixels__nothing_seen() -> None:
    found = ThingPixels().to_json()
    assert (found["mIoU"], found["accuracy"]) == (None, None)
    assert set(found["per_class"].values()) == {None}


def test_thing_pixels__refuses_detections_of_another_size() -> None:
    small = ScoredMask(2, 0.9, mask(1, width=2))
    with pytest.raises(ValueError, match=r"size \(1, 3\), got \(1, 2\) \(prediction 0\)"):
        ThingPixels().add(row(CAR, CAR, ROAD), [small])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> ToyStreetsTree:
    out = tmp_path_factory.mktemp("things") / "t"
    return write_toystreets(out, size=(64, 128), train=1, val=3, workers=0)


def test_evaluate_predictions__judges_stored_detections_by_pixels(
    tree: ToyStreetsTree, tmp_path: Path
) -> None:
    dataset, expected = Cityscapes(tree.target_root, "val"), SemanticScores()
    images = []
    for index in range(len(dataset)):
        truth = dataset.read_semantic(index)
        predicted = np.roll(truth, 3, axis=1)
        predicted[predicted == 255] = ROAD
        expected.add(truth, predicted)
        size = (int(truth.shape[0]), int(truth.shape[1]))
        said = tuple(as_detections(predicted))
        images.append(ImagePredictions(dataset.basename(index), size, said))
    with writing_text(tmp_path / "student.jsonl.gz", compressed=True) as write:
        for image in images:
            write(to_line(image))
    found = evaluate_predictions(
        tmp_path / "student.jsonl.gz", dataset, protocols=("thing_pixels", "cityscapes"), workers=1
    )
    assert found["thing_pixels"] == things_of(expected.counts).to_json()
    assert 0 < found["thing_pixels"]["mIoU"] < 1
    assert "AP" in found["cityscapes"]


def test_results_json__several_parts_merge() -> None:
    parts = [accumulators(["thing_pixels"])["thing_pixels"] for _ in range(2)]
    whole = ThingPixels()
    for seed, part in enumerate(parts):
        assert isinstance(part, ThingPixels)
        truth, predicted = random_maps(seed)
        part.add(truth, as_detections(predicted))
        whole.merge(part)
    both = results_json({"thing_pixels": whole})
    assert both["thing_pixels"]["confusion"]["pixels"] == (
        sum(part.counts for part in parts if isinstance(part, ThingPixels)).tolist()  # type: ignore[union-attr]
    )
