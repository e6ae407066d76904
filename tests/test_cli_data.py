"""`uda4inst data check`, `stats` and `export` as people type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from command_line import Cli, in_process

from uda4inst.commands.data_reports import _Name
from uda4inst.data.config import FormatName


@pytest.fixture
def uda4inst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Run a command in an empty folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys, "data")


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A Cityscapes tree of two images: one with a car and a person, one without any instance."""
    root = tmp_path / "city"
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "train/aachen").mkdir(parents=True)
    maps = [[[26000, 26000], [24000, 7]], [[7, 7], [8, 8]]]
    for number, raw in enumerate(maps):
        name = f"train/aachen/aachen_{number:06d}_000019"
        image = np.full((2, 2, 3), number, dtype=np.uint8)
        cv2.imwrite(str(root / "leftImg8bit" / f"{name}_leftImg8bit.png"), image)
        instances = np.array(raw, dtype=np.uint16)
        cv2.imwrite(str(root / "gtFine" / f"{name}_gtFine_instanceIds.png"), instances)
    return root


def test_check__notes_alone_end_with_0(uda4inst: Cli, city: Path) -> None:
    code, out, _ = uda4inst("check", "cityscapes", "city")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "Cityscapes train: 2 images, 0 errors, 1 note (city)"
    assert lines[1] == "empty (1)"
    assert lines[2].endswith(
        "aachen_000001_000019_leftImg8bit.png: image shows no instance (a note)"
    )


def test_check__an_error_ends_with_1(uda4inst: Cli, city: Path) -> None:
    next(city.rglob("*000000_*_instanceIds.png")).unlink()
    code, out, err = uda4inst("check", "cityscapes", str(city), "--json")
    report = json.loads(out)
    assert (code, err) == (1, "")
    assert report["counts"] == {"missing": 1, "empty": 1}
    assert [finding["severity"] for finding in report["findings"]] == ["error", "note"]
    assert report["findings"][0]["message"] == "image has no instance map"


def test_stats__table_json_and_plot(uda4inst: Cli, city: Path, tmp_path: Path) -> None:
    code, out, err = uda4inst("stats", "cityscapes", "city", "--plot", "plot.png")
    assert code == 0
    assert out.startswith("Cityscapes train: 2 instances in 2 images, 1 of them without\n")
    assert "* rare class of vehicle: car" in out
    assert err == "plot: plot.png\n"
    assert (tmp_path / "plot.png").stat().st_size > 1000
    code, out, _ = uda4inst("stats", "cityscapes", "city", "--json")
    assert code == 0
    assert json.loads(out)["rare_classes"] == {"human_cycle": "person", "vehicle": "car"}


@pytest.mark.parametrize(
    ("to", "made"),
    [("coco", "annotations/instances_train.json"), ("cityscapes", "names.csv")],
)
def test_export__writes_and_says_where(
    uda4inst: Cli, city: Path, tmp_path: Path, to: str, made: str
) -> None:
    code, out, _ = uda4inst("export", "cityscapes", "city", "out", "--to", to)
    assert (code, out) == (0, "2 images: out\n")
    assert (tmp_path / "out" / made).is_file()
    assert uda4inst("check", to, "out")[0] == 0


def test_stats__annotations_of_another_name(uda4inst: Cli, city: Path, tmp_path: Path) -> None:
    assert uda4inst("export", "cityscapes", "city", "own", "--to", "coco")[0] == 0
    annotations = tmp_path / "own/annotations"
    (annotations / "instances_train.json").rename(annotations / "mine.json")
    code, out, _ = uda4inst("stats", "coco", "own", "--annotations", "annotations/mine.json")
    assert code == 0
    assert out.startswith("COCO folder train: 2 instances in 2 images")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("check", "citiscapes", "city"), "Did you mean cityscapes?", id="format"),
        pytest.param(("check", "cityscapes", "nowhere"), "got no such folder", id="root"),
        pytest.param(("stats", "images", "city"), "must have labels here", id="no-labels"),
        pytest.param(
            ("stats", "cityscapes", "city", "--split", "val"), "got 'val'", id="no-such-split"
        ),
        pytest.param(
            ("stats", "cityscapes", "city", "--plot", "plot.txt"), "--plot must end in", id="plot"
        ),
        pytest.param(
            ("stats", "cityscapes", "city", "--plot", "no/plot.png"),
            "folder that is there",
            id="plot-folder",
        ),
        pytest.param(
            ("check", "synthia", "city", "--unnumbered", "no"),
            "ignore, components",
            id="unnumbered",
        ),
        pytest.param(
            ("export", "cityscapes", "city", "out", "--to", "voc"), "--to must be", id="to"
        ),
        pytest.param(
            ("export", "cityscapes", "city", "city", "--to", "coco"), "must not be there", id="out"
        ),
    ],
)
def test_data__mistake_is_one_message_and_exit_code_2(
    uda4inst: Cli, city: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = uda4inst(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err


def test_data__help_lists_the_commands(uda4inst: Cli) -> None:
    code, out, _ = uda4inst("--help")
    assert code == 0
    assert all(command in out for command in ("toystreets", "check", "stats", "export"))


def test_data__help_names_every_format() -> None:
    _, argument = get_args(_Name)
    assert f": {', '.join(get_args(FormatName))}." in argument.help
