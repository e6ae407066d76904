"""Choosing without labels, on checkpoints of networks that were never trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from uda4inst.errors import UserError
from uda4inst.models.network import Network
from uda4inst.run_folder.checkpoints import Contents, save_checkpoint
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.training.choosing import check_can_choose, choose_checkpoint
from uda4inst.training.config import Config, config_hash, load_config, to_yaml

pytestmark = pytest.mark.usefixtures("tiny_is_mini")

MakeRun = Callable[..., RunDir]
# Untrained networks are sure of nothing.
THRESHOLDS = (0.05, 0.9)


@pytest.fixture
def make_run(short_run: Callable[..., list[str]], tmp_path: Path) -> MakeRun:
    """Make a run whose checkpoints, by step, hold networks of given seeds."""

    def make(checkpoints: Mapping[int, Mapping[str, int]], *overrides: str) -> RunDir:
        config = load_config("toystreets_smoke", short_run(tmp_path, "made", *overrides))
        run = RunDir(tmp_path / "made")
        create_run(run, config_yaml=to_yaml(config))
        for step, seeds in checkpoints.items():
            contents = Contents(
                step=step,
                stage=2,
                networks={name: fresh(config, seed) for name, seed in seeds.items()},
                optimizer={},
                state={},
                config_hash=config_hash(config),
                kept=True,
            )
            save_checkpoint(run.checkpoints, contents, kept=1)
        return run

    return make


def fresh(config: Config, seed: int) -> Network:
    torch.manual_seed(seed)
    return config.task.build_network(config.model.preset, weights=None)[0]


def chosen(run: RunDir, images: int = 2) -> dict[str, Any]:
    written = choose_checkpoint(run, images=images, thresholds=THRESHOLDS)
    assert list(written) == [run]
    return written[run]


def measures(record: Mapping[str, Any], name: str) -> list[Any]:
    """Return the quality of every checkpoint at the lowest threshold, None where there is none."""
    found = [checkpoint["thresholds"][0][name] for checkpoint in record["checkpoints"]]
    return [part and part["quality"] for part in found]


def test_choose__equal_weights_agree_by_making(make_run: MakeRun) -> None:
    run = make_run(
        {
            5: {"student": 0, "teacher": 0},
            10: {"student": 1, "teacher": 0},
            15: {"student": 1, "teacher": 2},
        }
    )
    record = chosen(run)
    copied, moved, last = measures(record, "agreement")
    assert copied is None
    assert 0 <= moved < 1
    assert 0 <= last < 1
    first, same, other = measures(record, "stability")
    assert (first, same) == (None, None)
    assert 0 <= other < 1
    assert [one["before"] for one in record["checkpoints"]] == [None, 5, 10]
    assert record["by"] == "agreement"
    assert record["chosen"]["step"] == (10 if moved > last else 15)
    assert record["chosen"]["quality"] == max(moved, last)
    assert json.loads(run.choice.read_text()) == record


def test_choose__without_a_teacher_by_stability(make_run: MakeRun) -> None:
    record = chosen(make_run({5: {"student": 0}, 10: {"student": 1}}))
    assert measures(record, "agreement") == [None, None]
    assert record["by"] == "stability"
    assert record["chosen"] == {
        "step": 10,
        "network": "student",
        "threshold": 0.05,
        "quality": measures(record, "stability")[1],
    }


def test_choose__one_checkpoint_without_a_teacher_is_no_choice(make_run: MakeRun) -> None:
    record = chosen(make_run({5: {"student": 0}}), images=100)
    assert record["chosen"] is None
    assert record["images"] == 8  # all there are
    low, high = record["checkpoints"][0]["thresholds"]
    assert low["pseudo_labels"] > 0
    assert high["pseudo_labels"] == 0
    assert low["pseudo_labels"] == pytest.approx(sum(low["pseudo_labels_per_class"].values()))


def test_choose__nothing_on_the_ego_vehicle(make_run: MakeRun, tmp_path: Path) -> None:
    mask = tmp_path / "everywhere.png"
    cv2.imwrite(str(mask), np.zeros((64, 128), np.uint8))
    run = make_run({5: {"student": 0, "teacher": 1}}, f"data.target.ego_vehicle={mask}")
    record = chosen(run)
    assert record["checkpoints"][0]["thresholds"][0]["pseudo_labels"] == 0
    assert measures(record, "agreement") == [None]
    assert record["chosen"] is None


def test_choose__on_the_ego_vehicle_as_the_run_says(make_run: MakeRun, tmp_path: Path) -> None:
    left = np.zeros((64, 128), np.uint8)
    left[:, :64] = 255
    cv2.imwrite(str(mask := tmp_path / "left.png"), left)

    def labels(share: float) -> int:
        config = (f"data.target.ego_vehicle={mask}", f"method.ego.min_valid_share={share}")
        run = make_run({5: {"student": 0, "teacher": 1}}, *config)
        found = chosen(run)["checkpoints"][0]["thresholds"][0]["pseudo_labels"]
        shutil.rmtree(run.path)
        return found

    assert labels(0) > labels(1)


def test_choose__progress_counts_every_image_of_every_network(make_run: MakeRun) -> None:
    run = make_run({5: {"student": 0}, 10: {"student": 1, "teacher": 2}})
    told: list[tuple[int, int, str]] = []
    choose_checkpoint(
        run, images=2, thresholds=THRESHOLDS, progress=lambda *news: told.append(news)
    )
    assert [(done, total) for done, total, _ in told] == [(n, 6) for n in range(1, 7)]
    assert told[-1][2] == "made 10 teacher"


def test_choose__a_damaged_checkpoint_is_one_message(make_run: MakeRun) -> None:
    run = make_run({5: {"student": 0}, 10: {"student": 1}})
    (run.checkpoints / "00000010" / "student.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"student\.safetensors truncated"):
        chosen(run)
    assert not run.choice.exists()


def test_check_can_choose__no_checkpoint(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="steps: none"):
        check_can_choose(make_run({}))
