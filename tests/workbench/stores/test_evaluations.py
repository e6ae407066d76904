from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.classes import thing_index
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import true_classes
from workbench.services import Services
from workbench.stores.evaluations import Evaluated, PredictionSet, worst_first

TEACHER = Evaluated("demo", 40, "teacher")


@pytest.fixture
def run(write_run: Callable[..., Path], toy_tree: Path) -> Path:
    return write_run(steps=40, tree=toy_tree / "cityscapes")


def detections(services: Services, which: Evaluated) -> PredictionSet:
    """Return the stored predictions of an instance run."""
    found = services.evaluations.predictions(which)
    assert isinstance(found, PredictionSet)
    return found


def test_steps__only_with_stored_predictions(services: Services, run: Path, factories: Any) -> None:
    factories.write_json(run / "evaluation" / "00000080.json", factories.make_results(80))
    assert services.evaluations.steps("demo") == [40]
    assert services.evaluations.networks("demo", 40) == ["teacher", "student"]
    assert services.evaluations.steps("nothing") == []


def test_predictions__beside_their_images(services: Services, run: Path) -> None:
    found = detections(services, TEACHER)
    name = sorted(found.images)[0]
    assert len(found.images) == 4
    assert found.image(name).shape == (128, 256, 3)
    assert found.read_truth(name).shape == (128, 256)
    assert detections(services, TEACHER) is found


def test_predictions__repeated_evaluation_is_read_again(
    services: Services, run: Path, toy_tree: Path, factories: Any
) -> None:
    assert len(detections(services, TEACHER).images) == 4
    factories.write_predictions(run, 40, "teacher", toy_tree / "cityscapes", limit=2)
    assert len(detections(services, TEACHER).images) == 2


def test_predictions__missing_network_is_told(services: Services, run: Path) -> None:
    with pytest.raises(UserError, match="predictions of the oracle of 'demo' at step 40 must"):
        detections(services, Evaluated("demo", 40, "oracle"))


def test_predictions__cut_file_is_told(services: Services, run: Path) -> None:
    path = run / "evaluation" / "predictions" / "00000040" / "teacher.jsonl.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="predictions file must be whole"):
        detections(services, TEACHER)


def test_predictions__of_other_images_are_told(services: Services, run: Path) -> None:
    path = run / "evaluation" / "predictions" / "00000040" / "teacher.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"sample_id": "x_0_0", "size": [2, 2], "detections": []}\n')
    with pytest.raises(UserError, match=r"predictions must be of images in .*'x_0_0'"):
        detections(services, TEACHER)


def test_predictions__missing_data_are_told(services: Services, run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("/cityscapes", "/gone"))
    told = r"toystreets/gone.*say where its images are on this one: .*demo --target FOLDER"
    with pytest.raises(UserError, match=told):
        detections(services, TEACHER)


def test_worst_first__sorted_by_wrong_pixels(services: Services, run: Path) -> None:
    index = services.evaluations.index(TEACHER, 0.5)
    names = worst_first(index, None)
    errors = dict(zip(index.sample_ids, index.errors(None), strict=True))
    wrong = [errors[name].wrong_pixels for name in names]
    assert wrong == sorted(wrong, reverse=True)
    assert sorted(names) == sorted(index.sample_ids)


def test_worst_first__by_what_exceeds_the_other(services: Services, run: Path) -> None:
    a = services.evaluations.index(TEACHER, 0.5)
    b = services.evaluations.index(Evaluated("demo", 40, "student"), 0.5)
    mine, theirs = (
        {n: e.wrong_pixels for n, e in zip(i.sample_ids, i.errors(2), strict=True)} for i in (a, b)
    )
    excess = [mine[name] - theirs[name] for name in worst_first(a, 2, other=b)]
    assert excess == sorted(excess, reverse=True)


def test_index__is_kept_per_threshold(services: Services, run: Path) -> None:
    low = services.evaluations.index(TEACHER, 0.1)
    assert services.evaluations.index(TEACHER, 0.1) is low
    assert services.evaluations.index(TEACHER, 0.9).score_threshold == 0.9


PEOPLE = Evaluated("demo/modules/person-rider-motorcycle-bicycle", 120, "teacher")


def test_judged__then_everything_is_there_at_once(
    services: Services, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Evaluated("demo", TEACHER.step, "student")
    assert services.evaluations.judged(TEACHER, student, 0.5) is None
    monkeypatch.setattr(PredictionSet, "read_truth", lambda *_: pytest.fail("read again"))
    told: list[tuple[int, int]] = []
    for one in (TEACHER, student):
        index = services.evaluations.index(one, 0.5, lambda *progress: told.append(progress))
        assert len(index.sample_ids) == 4
    assert told == []


def test_index__tells_how_far_it_is(services: Services, run: Path) -> None:
    told: list[tuple[int, int]] = []
    services.evaluations.index(TEACHER, 0.5, lambda *progress: told.append(progress))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_predictions__of_a_group_are_judged_on_its_classes(
    services: Services, write_grouped_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_grouped_run(tree=toy_tree / "cityscapes", merged=True)
    merged = detections(services, Evaluated("demo", 120, "student"))
    people = detections(services, PEOPLE)
    learned = {0, 1, 6, 7}
    assert people.things == learned
    for name in people.images:
        everything, own = (true_classes(f.read_truth(name)).astype(int) for f in (merged, people))
        expected = np.where(np.isin(everything - 1, [2, 3, 4, 5]), 0, everything)
        np.testing.assert_array_equal(own, expected)
        assert set(people.read_labels(name).labels.tolist()) <= learned | {-1}


def test_index__of_a_group_misses_nothing_of_other_classes(
    services: Services, write_grouped_run: Callable[..., Path], toy_tree: Path
) -> None:
    write_grouped_run(tree=toy_tree / "cityscapes")
    errors = services.evaluations.index(PEOPLE, 0.999).errors(thing_index("car"))
    assert sum(error.false_negative_pixels for error in errors) == 0
