from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.suites import data_check, runner
from uda4inst.suites.folder import describe, write_config
from uda4inst.suites.runner import SuiteOutcome
from workbench.notebook.project import FOLDER_VARIABLE, provenance, start
from workbench.notebook.study import Study
from workbench.notebook.words import unable

APS = {"none": 0.20, "t2s": 0.23, "s2t": 0.25, "both": 0.24, "oracle": 0.40}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_check, "check_data", lambda *_: None)
    return tmp_path


def finish(study: Study, aps: dict[str, float] = APS) -> None:
    """Write the runs of a study as if they had been trained, with these AP."""
    for run in study.plan.chosen.runs:
        place = study.plan.folder.run(run.name)
        place.path.mkdir(parents=True)
        place.config.write_text(write_config(study.plan.folder, run).read_text())
        place.status.write_text(json.dumps({"state": "finished", "step": 7}))
        if not run.row:
            continue
        scores = {"AP": aps[run.row], "AP50": 0.5, "per_class": {}}
        record = {
            "step": 7,
            "config_hash": run.config_hash,
            "dataset": "Toy",
            "split": "val",
            "images": 9,
            "results": {"student": {"cityscapes": scores, "coco": scores}},
        }
        place.evaluation.mkdir()
        place.evaluation_of(7).write_text(json.dumps(record))


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    made = Study("table2", "smoke")

    def train(*_: object, **__: object) -> SuiteOutcome:
        finish(made)
        return SuiteOutcome({run.name: "finished" for run in made.plan.chosen.runs}, {})

    monkeypatch.setattr(runner, "run_suite", train)
    return made


def test_study__lists_what_is_to_do_and_what_is_done(study: Study) -> None:
    before = study._repr_markdown_()
    assert "| stage 1, shared | 1 | 0 | 3 |" in before
    assert before.count("| 1 | 0 | 4 |") == 4
    assert "Table 2: direction of mixing" in before
    study.run()
    assert study._repr_markdown_().count("| 1 | 1 | ") == 6


def test_study__run_counts_what_was_trained_and_not_what_was_not_needed(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def show(text: str, *, at_once: bool = False) -> None:
        if at_once:
            said.append(text)

    monkeypatch.setattr("workbench.notebook.study.Line", lambda: show)
    study.run()
    assert said.pop().startswith("6 runs finished; 6 trained in 0:")
    runs = study.plan.chosen.runs
    first = next(run for run in runs if not run.row)
    shutil.rmtree(study.plan.folder.run(first.name).path)  # as after taking runs over
    skipped = SuiteOutcome({run.name: "skipped" for run in runs}, {})
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: skipped)
    study.run()
    assert said == ["5 runs finished; none was to be trained."]


def test_study__table_has_paper_and_ours(study: Study) -> None:
    study.run()
    table = study.table().markdown
    assert "| T2S | 35.07 | 23.0 (23.0–23.0) |" in table
    assert "| bidirectional [a] | 37.18 | 24.0 (24.0–24.0) |" in table


def test_study__answer_without_resamples_claims_nothing(study: Study) -> None:
    study.run()
    said = study.answer(("t2s", "none")).markdown
    assert "no runs of both on the same two images or more" in said
    assert "In the paper: +3.1 (35.07 and 31.95)." in said
    assert "higher" not in said
    assert "Its numbers mean nothing" in said


def test_study__finished_gives_a_rows_run(study: Study) -> None:
    with pytest.raises(UserError, match="Run the study first"):
        study.finished("both")
    study.run()
    assert study.finished("both").name == "both-seed0"
    with pytest.raises(UserError, match="row must be one of none, t2s, s2t, both, oracle"):
        study.finished("m5")


def test_study__a_failed_run_is_one_message(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = SuiteOutcome({"both-seed0": "failed"}, {"both-seed0": "loss must be finite"})
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: outcome)
    with pytest.raises(UserError, match="both-seed0: loss must be finite"):
        study.run()


def test_study__interrupted(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_suite", lambda *_, **__: SuiteOutcome({}, {}, signal=2))
    with pytest.raises(UserError, match="this cell goes on with it"):
        study.run()


def test_study__real_data_are_two_roots(folder: Path) -> None:
    study = Study("table5", "paper", source_root="/data/u", target_root="/data/c")
    data = study.plan.chosen.runs[0].config.data
    assert str(data.source.root) == "/data/u"
    assert str(data.target.root) == str(data.val.root) == "/data/c"
    assert study.plan.chosen.runs[0].config.training.stage1_steps == 10_000


def test_study__scenes_are_of_the_toy_scale_alone(folder: Path) -> None:
    toy = Study("balance", "toy", scenes=(5, 6), rows=["none", "riders"], seeds=(7,))
    assert {run.cell.scenes for run in toy.plan.chosen.runs} == {5, 6}
    smoke = Study("balance", "smoke", scenes=(5, 6), rows=["none", "riders"], seeds=(7,))
    assert {run.cell.scenes for run in smoke.plan.chosen.runs} == {None}


def test_study__smoke_takes_the_first_seed_alone(folder: Path) -> None:
    toy, smoke = (
        Study("table2", scale, scenes=(5,), rows=["none"], seeds=(3, 4))
        for scale in ("toy", "smoke")
    )
    assert {run.cell.seed for run in toy.plan.chosen.runs} == {3, 4}
    assert {run.cell.seed for run in smoke.plan.chosen.runs} == {3}


def test_study__unknown_names(folder: Path) -> None:
    with pytest.raises(UserError, match="SUITE must be one of"):
        Study("table9", "smoke")
    with pytest.raises(UserError, match="--scale must be one of"):
        Study("table2", "huge")


def test_unable__says_what_one_seed_and_one_scene_set_leave_open(folder: Path) -> None:
    one = Study("table2", "toy", seeds=(0,))
    finish(one)
    describe(one.plan.folder, one.plan.everything)
    said = unable(one.results)
    assert "compare the order of the rows" in said
    assert "With one seed" in said
    assert "One set of scenes" in said
    assert "(1 run of each row.)" in said


def test_provenance__names_configurations_commit_and_command(study: Study) -> None:
    said = provenance(study).markdown
    for run in study.plan.chosen.runs:
        assert f"| {run.name} | `{run.config_hash}` |" in said
    assert "commit " in said
    assert "`uda4inst suite table2 --scale smoke --seeds 0 --set training.snapshot_every=2" in said


def test_start__goes_to_the_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert "uda4inst" in start().markdown
    assert Path.cwd() == tmp_path
    start()
    assert Path.cwd() == tmp_path


def test_start__to_a_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    start()
    assert Path.cwd() == tmp_path / "elsewhere"
    monkeypatch.setenv(FOLDER_VARIABLE, os.devnull)
    with pytest.raises(UserError, match="must name a folder"):
        start()


def test_start__outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(UserError, match="UDA4INST_NOTEBOOKS=FOLDER jupyter lab"):
        start()
