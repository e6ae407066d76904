"""Predictions made elsewhere, in FiftyOne: judged as `uda4inst evaluate --predictions` does."""

from __future__ import annotations

from pathlib import Path

import inspection
import numpy as np
import pytest
from random_detections import draw

inspection.require_database()

from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.cityscapes_submission import write_submission
from uda4inst.formats.coco import write_results
from uda4inst.formats.predictions import ImagePredictions, to_line, writing_text
from uda4inst.toystreets.write import write_toystreets
from workbench.sessions import run_session
from workbench.sessions.foreign import open_foreign_session
from workbench.sessions.request import DataRequest, request_tree

pytestmark = pytest.mark.inspection


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets")
    write_toystreets(folder, size=(128, 256), train=2, val=5, seed=0, workers=0)
    return folder / "cityscapes"


@pytest.fixture
def request_of_all(streets: Path) -> DataRequest:
    return request_tree("cityscapes", streets, split="val")


@pytest.fixture(scope="module")
def files(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return different predictions of the same images, in every format."""
    folder, tree = tmp_path_factory.mktemp("predictions"), Cityscapes(streets, "val")

    def drawn(seed: int) -> list[ImagePredictions]:
        rng = np.random.default_rng(seed)
        return [draw(tree, index, rng) for index in range(len(tree))]

    write_submission(folder / "a submission", drawn(0))
    write_results(folder / "coco.json", drawn(1))
    with writing_text(folder / "student.jsonl.gz", compressed=True) as write:
        for one in drawn(2):
            write(to_line(one))
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a submission", "coco.json", "student.jsonl.gz"])
def test_session__ap_is_that_of_evaluate(
    files: dict[str, Path], streets: Path, request_of_all: DataRequest, name: str
) -> None:
    session = open_foreign_session([files[name]], request_of_all)
    (facts,) = session.summary["predicted"].values()
    expected = evaluate_predictions(files[name], Cityscapes(streets, "val"))["cityscapes"]
    assert {key: facts["scores"][key] for key in ("AP", "AP50", "per_class")} == {
        key: expected[key] for key in ("AP", "AP50", "per_class")
    }
    assert expected["AP"] > 0
    assert facts["predictions"] == str(files[name])
    assert facts["scores"]["images"] == 5


def test_session__several_stand_side_by_side_and_are_written_once(
    files: dict[str, Path], request_of_all: DataRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [files["a submission"], files["coco.json"]]
    session = open_foreign_session(both, request_of_all)
    views = session.dataset.list_saved_views()
    assert "found by a submission, missed by coco.json" in views
    assert any(view.endswith("misses of car") for view in views)

    def forbidden(*_: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(run_session, "_add", forbidden)
    assert open_foreign_session(both, request_of_all).summary == {**session.summary, "built": False}


def test_session__predictions_that_changed_take_the_place_of_the_former(
    files: dict[str, Path], streets: Path, request_of_all: DataRequest, tmp_path: Path
) -> None:
    path, tree = tmp_path / "changing", Cityscapes(streets, "val")
    found = []
    for seed in (5, 6):
        rng = np.random.default_rng(seed)
        write_submission(path, [draw(tree, index, rng) for index in range(len(tree))])
        session = open_foreign_session([path], request_of_all)
        found.append(session.summary["predicted"]["file_changing"]["scores"]["AP"])
    assert found[0] != found[1] == evaluate_predictions(path, tree)["cityscapes"]["AP"]


def test_session__unlabelled_images_cannot_be_judged_by(
    files: dict[str, Path], streets: Path
) -> None:
    request = request_tree("cityscapes", streets, split="train")
    with pytest.raises(UserError, match="--target must have labels to judge by"):
        open_foreign_session([files["coco.json"]], request)


def test_session__nothing_there_is_one_message(request_of_all: DataRequest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got nothing there .*nowhere"):
        open_foreign_session([tmp_path / "nowhere"], request_of_all)


def test_session__two_of_one_name_cannot_be_told_apart(
    files: dict[str, Path], request_of_all: DataRequest, tmp_path: Path
) -> None:
    other = tmp_path / "coco.json"
    other.write_bytes(files["coco.json"].read_bytes())
    with pytest.raises(UserError, match="must have different names"):
        open_foreign_session([files["coco.json"], other], request_of_all)


def test_session__predictions_of_other_images_are_refused(
    request_of_all: DataRequest, tmp_path: Path
) -> None:
    path = tmp_path / "other.jsonl.gz"
    with writing_text(path, compressed=True) as write:
        write('{"sample_id": "aachen_000001_000019", "size": [8, 8], "detections": []}\n')
    with pytest.raises(UserError, match="aachen_000001_000019"):
        open_foreign_session([path], request_of_all)
