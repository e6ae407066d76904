"""Instance and semantic suites in one table, of hand-made scores."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from suite_factory import write_finished, write_semantic_finished, write_suite

from uda4inst.classes import THING_NAMES
from uda4inst.commands.suite import report
from uda4inst.errors import UserError
from uda4inst.suites.results import collect
from uda4inst.suites.things import compare_things, csv_text, markdown
from uda4inst.training.config import load_config, to_yaml

DATASET = "Cityscapes (toy)"


def configure(folder: Path, run: str, preset: str, **judged: object) -> None:
    """Give a run its configuration, and fields of its evaluation."""
    place = folder / "runs" / run
    (place / "config.yaml").write_text(to_yaml(load_config(preset)))
    path = place / "evaluation" / "00000009.json"
    record = json.loads(path.read_text()) | {"dataset": DATASET, "split": "val"} | judged
    path.write_text(json.dumps(record))


def thing_pixels(iou: float) -> dict[str, object]:
    """Return scores whose classes have IoU iou, iou + .01, ..., without trains."""
    by_class = {name: {"IoU": iou + i / 100} for i, name in enumerate(THING_NAMES)}
    return {"mIoU": iou, "accuracy": 0.9, "per_class": by_class | {"train": None}}


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    folder = write_suite(tmp_path / "table5-toy", "table5", {}, seeds=(0, 1))
    for row, iou in (("m1", 0.1), ("m5", 0.25), ("oracle", 0.3)):
        for seed in (0, 1):
            name = f"{row}-seed{seed}"
            write_finished(folder, name, 20.0)
            scores = {"student": {"thing_pixels": thing_pixels(iou + seed / 100)}}
            configure(folder, name, "toystreets_demo", results=scores)
    return folder


@pytest.fixture
def semantic(tmp_path: Path) -> Path:
    folder = write_suite(tmp_path / "ehtdi-toy", "ehtdi", {}, seeds=(0,))
    for row, miou in (("source_only", 0.2), ("ehtdi", 0.3), ("oracle", 0.4)):
        write_semantic_finished(folder, f"{row}-seed0", miou)
        configure(folder, f"{row}-seed0", "toystreets_ehtdi")
    return folder


def test_compare_things__both_families_over_what_both_have(instances: Path, semantic: Path) -> None:
    things = compare_things([collect(instances), collect(semantic)])
    assert things.images == "100 of 100 images"
    by_label = {(one.results.suite.name, one.row.key): one for one in things.rows}
    m5 = by_label["table5", "m5"]
    # Seed 1 is of one suite alone. The mean of .25, .26, ... without the sixth, trains.
    assert list(m5.means.values()) == pytest.approx([25 + (28 - 5) / 7])
    assert (m5.predicts, m5.preset) == ("instances", "tiny")
    assert things.share_closed(m5) == pytest.approx(75)
    assert things.share_closed(by_label["table5", "m1"]) is None
    ehtdi = by_label["ehtdi", "ehtdi"]
    assert (ehtdi.predicts, ehtdi.preset) == ("semantic maps", "deeplab_tiny")
    assert things.share_closed(ehtdi) == pytest.approx(50)
    lines = list(csv.DictReader(csv_text(things).splitlines()))
    assert len(lines) == 6
    assert (lines[1]["row"], lines[1]["predicts"], lines[1]["train"]) == ("m5", "instances", "")
    assert float(lines[1]["person"]) == pytest.approx(25)
    text = markdown(things)
    assert text.startswith("# Things by pixels, student, last step, 100 of 100 images")
    assert "| Table 5: components | M5 | instances | tiny | 28.3 (28.3–28.3) | 75 % | 1 |" in text
    assert "no interval is taken between suites" in text


def test_compare_things__other_images_are_refused(instances: Path, semantic: Path) -> None:
    for row in ("source_only", "ehtdi", "oracle"):
        configure(semantic, f"{row}-seed0", "toystreets_ehtdi", image_names="f" * 16)
    with pytest.raises(UserError, match=r"on the same images, got none.*--scenes and --seeds"):
        compare_things([collect(instances), collect(semantic)])


def test_compare_things__a_run_judged_on_other_images_is_left_out(
    instances: Path, semantic: Path
) -> None:
    configure(instances, "oracle-seed0", "toystreets_demo", image_names="f" * 16)
    things = compare_things([collect(instances), collect(semantic)])
    rows = {(one.results.suite.name, one.row.key): one for one in things.rows}
    assert ("table5", "m5") in rows
    assert ("table5", "oracle") not in rows
    assert things.share_closed(rows["table5", "m5"]) is None  # without its upper bound


def test_share_closed__of_the_runs_that_row_and_bounds_have(instances: Path) -> None:
    configure(instances, "m1-seed1", "toystreets_demo", results={"student": {}})
    things = compare_things([collect(instances), collect(instances)])
    (m5, *_) = [one for one in things.rows if one.row.key == "m5"]
    assert len(m5.means) == 2
    assert things.share_closed(m5) == pytest.approx(75)  # of seed 0 alone


def test_compare_things__instances_that_were_not_judged_so(instances: Path, semantic: Path) -> None:
    for row in ("m1", "m5", "oracle"):
        for seed in (0, 1):
            configure(instances, f"{row}-seed{seed}", "toystreets_demo", results={"student": {}})
    with pytest.raises(UserError, match=r"--set evaluation\.protocols=\[cityscapes,thing_pixels\]"):
        compare_things([collect(instances), collect(semantic)])


def test_report__beside_another_suite_writes_the_table(
    instances: Path, semantic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(instances, beside=[semantic])
    said = capsys.readouterr()
    assert said.out == (instances / "report" / "things.md").read_text() + "\n"
    assert f"written: {instances}/report/things.csv" in said.err


@pytest.mark.parametrize("rehearsal", [False, True])
def test_share_closed__of_a_rehearsal_is_not_said(instances: Path, rehearsal: bool) -> None:
    results = collect(instances)
    results = replace(results, scale=replace(results.scale, rehearsal=rehearsal))
    things = compare_things([results, results])
    (m5, *_) = [one for one in things.rows if one.row.key == "m5"]
    assert (things.share_closed(m5) is None) == rehearsal
