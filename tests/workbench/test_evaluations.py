from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from workbench.evaluations import Evaluated, worst_first
from workbench.services import Services

TEACHER = Evaluated("demo", 40, "teacher")


@pytest.fixture
def run(write_run: Callable[..., Path], toy_tree: Path) -> Path:
    return write_run(steps=40, tree=toy_tree / "cityscapes")


def test_steps__only_with_stored_predictions(services: Services, run: Path, factories: Any) -> None:
    factories.write_json(run / "evaluation" / "00000080.json", factories.make_results(80))
    assert services.evaluations.steps("demo") == [40]
    assert services.evaluations.networks("demo", 40) == ["teacher", "student"]
    assert services.evaluations.steps("nothing") == []


def test_predictions__beside_their_images(services: Services, run: Path) -> None:
    found = services.evaluations.predictions(TEACHER)
    name = sorted(found.images)[0]
    assert len(found.images) == 4
    assert found.image(name).shape == (128, 256, 3)
    assert found.read_truth(name).shape == (128, 256)
    assert services.evaluations.predictions(TEACHER) is found


def test_predictions__repeated_evaluation_is_read_again(
    services: Services, run: Path, toy_tree: Path, factories: Any
) -> None:
    assert len(services.evaluations.predictions(TEACHER).images) == 4
    factories.write_predictions(run, 40, "teacher", toy_tree / "cityscapes", limit=2)
    assert len(services.evaluations.predictions(TEACHER).images) == 2


def test_predictions__missing_network_is_told(services: Services, run: Path) -> None:
    with pytest.raises(UserError, match="predictions of the oracle of 'demo' at step 40 must"):
        services.evaluations.predictions(Evaluated("demo", 40, "oracle"))


def test_predictions__cut_file_is_told(services: Services, run: Path) -> None:
    path = run / "evaluation" / "predictions" / "00000040" / "teacher.jsonl.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="predictions file must be whole"):
        services.evaluations.predictions(TEACHER)


def test_predictions__of_other_images_are_told(services: Services, run: Path) -> None:
    path = run / "evaluation" / "predictions" / "00000040" / "teacher.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"sample_id": "x_0_0", "size": [2, 2], "detections": []}\n')
    with pytest.raises(UserError, match=r"predictions must be of images in .*'x_0_0'"):
        services.evaluations.predictions(TEACHER)


def test_predictions__missing_data_are_told(services: Services, run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("/cityscapes", "/gone"))
    with pytest.raises(UserError, match="toystreets/gone"):
        services.evaluations.predictions(TEACHER)


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
