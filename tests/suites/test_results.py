from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.resampling import RESAMPLES, Resampled, resampled_path, write_resampled
from uda4inst.suites.results import SuiteResults, collect
from uda4inst.suites.tables import tables

Write = Callable[..., Path]


def test_collect__mean_spread_and_number_of_seeds(write_suite: Write) -> None:
    folder = write_suite("table5", {"m3": {0: 10.0, 1: 13.0, 2: 16.0}}, seeds=(0, 1, 2))
    results = collect(folder)
    found = results.row("m3").statistic("student", "cityscapes", "AP")
    assert found is not None
    assert found.mean == pytest.approx(13)
    assert found.spread == pytest.approx((10, 16))
    assert found.n == 3
    fifty = results.row("m3").statistic("student", "coco", "AP50")
    assert fifty is not None
    assert fifty.mean == pytest.approx(26 + 1)


def test_collect__by_class(write_suite: Write) -> None:
    row = collect(write_suite("table5", {"m3": {0: 10.0}})).row("m3")
    person = row.statistic("student", "cityscapes", "AP", "person")
    rider = row.statistic("student", "cityscapes", "AP50", "rider")
    assert person is not None
    assert rider is not None
    assert (person.mean, rider.mean) == pytest.approx((10, 22))
    # The class of the hand-made evaluation that has no ground truth.
    assert row.statistic("student", "cityscapes", "AP", "train") is None


def test_collect__synthia_means_are_over_its_classes(write_suite: Write) -> None:
    results = collect(
        write_suite(
            "table1", {"synthia_uda4inst": {0: 10.0}, "urbansyn_uda4inst": {0: 10.0}}, scale="paper"
        )
    )
    six = results.row("synthia_uda4inst").statistic("student", "cityscapes", "AP")
    eight = results.row("urbansyn_uda4inst").statistic("student", "cityscapes", "AP")
    assert six is not None
    assert eight is not None
    # Classes are 10, 11, 12 (car), 13 (truck), 14, none (train), 16, 17.
    assert six.mean == pytest.approx((10 + 11 + 12 + 14 + 16 + 17) / 6)
    assert eight.mean == pytest.approx(10)
    truck = results.row("synthia_uda4inst").statistic("student", "cityscapes", "AP", "truck")
    assert truck is None


def add_class(folder: Path, run: str, names: Sequence[str]) -> None:
    """Let a finished run have been judged on more classes, of AP .2, .3, ..."""
    path = folder / "runs" / run / "evaluation" / "00000009.json"
    record = json.loads(path.read_text())
    for place, name in enumerate(names, start=2):
        value = {"AP": place / 10, "AP50": place / 10}
        record["results"]["student"]["cityscapes"]["per_class"][name] = value
    path.write_text(json.dumps(record))


def test_collect__classes_of_ones_own_come_behind_the_others(write_suite: Write) -> None:
    folder = write_suite("table5", {"m1": {0: 10.0}, "m3": {0: 11.0}})
    for run in ("m1-seed0", "m3-seed0"):
        add_class(folder, run, ["tow truck", "cone"])
    results = collect(folder)
    m1, m3 = results.row("m1"), results.row("m3")
    assert results.suite.class_names == (*THING_NAMES, "tow truck", "cone")
    assert m1.row.classes == results.row("m5").row.classes == results.suite.class_names
    own = m3.statistic("student", "cityscapes", "AP", "cone")
    overall = m3.statistic("student", "cityscapes", "AP")
    assert own is not None
    assert overall is not None
    assert (own.mean, overall.mean) == pytest.approx((30, 11))  # as the run was judged, over all
    assert m1.paper is None  # the paper's are over the eight
    (of_classes,) = [t for t in tables(results, [("cityscapes", "student")]) if "AP by" in t.title]
    assert of_classes.header[-2:] == ("tow truck", "cone")


@pytest.mark.parametrize("name", ["<b>x</b>", "pole" * 20, "Cone", ""])
def test_collect__what_can_be_no_class_is_no_column(write_suite: Write, name: str) -> None:
    folder = write_suite("table5", {"m1": {0: 10.0}})
    add_class(folder, "m1-seed0", [name])
    assert collect(folder).suite.class_names == THING_NAMES


def test_scored__classes_of_ones_own_have_their_place_in_the_resamples(write_suite: Write) -> None:
    folder = write_suite("table5", {"m1": {0: 10.0}})
    add_class(folder, "m1-seed0", ["cone"])
    predictions = folder / "runs" / "m1-seed0" / "evaluation" / "predictions" / "00000009"
    by_class = np.tile(np.arange(9)[:, None] / 100, (RESAMPLES, 1, 2)).astype(np.float32)
    every = Resampled(by_class.mean(axis=1), by_class, ("a",))
    write_resampled(resampled_path(predictions / "student.jsonl.gz"), every)
    found = collect(folder).row("m1").scored("student", "cityscapes", "AP", "cone")
    (values,) = found.resamples.values()
    assert values.tolist() == pytest.approx([8.0] * RESAMPLES)


def test_collect__rows_without_a_teacher_show_their_student(write_suite: Write) -> None:
    results = collect(write_suite("table5", {"m1": {0: 5.0}, "m3": {0: 9.0}}))
    m1 = results.row("m1").statistic("teacher", "cityscapes", "AP")
    m3 = results.row("m3").statistic("teacher", "cityscapes", "AP")
    assert m1 is not None
    assert m3 is not None
    assert (m1.mean, m3.mean) == pytest.approx((5, 11))


def test_collect__a_missing_teacher_is_not_the_student(write_suite: Write) -> None:
    folder = write_suite("table5", {"m3": {0: 9.0}})
    path = folder / "runs" / "m3-seed0" / "evaluation" / "00000009.json"
    record = json.loads(path.read_text())
    del record["results"]["teacher"]
    path.write_text(json.dumps(record))
    assert collect(folder).row("m3").statistic("teacher", "cityscapes", "AP") is None


def test_collect__the_last_evaluation_counts(write_suite: Write) -> None:
    folder = write_suite("table5", {"m3": {0: 9.0}})
    evaluation = folder / "runs" / "m3-seed0" / "evaluation"
    earlier = (evaluation / "00000009.json").read_text().replace("0.09", "0.9")
    (evaluation / "00000003.json").write_text(earlier)
    found = collect(folder).row("m3").statistic("student", "cityscapes", "AP")
    assert found is not None
    assert found.mean == pytest.approx(9)


def test_collect__unfinished_runs_do_not_count(write_suite: Write) -> None:
    folder = write_suite("table5", {"m3": {0: 9.0, 1: 10.0}}, seeds=(0, 1, 2))
    status = folder / "runs" / "m3-seed1" / "status.json"
    status.write_text(json.dumps({"state": "running", "step": 5}))
    row = collect(folder).row("m3")
    found = row.statistic("student", "cityscapes", "AP")
    assert found is not None
    assert found.n == 1
    assert row.state == "1 of 3 runs"
    assert [run.state for run in row.runs] == ["finished", "running", "not run"]


def test_collect__states_of_rows(write_suite: Write) -> None:
    folder = write_suite("table1", {"urbansyn_uda4inst": {0: 9.0}}, scale="toy")
    states = {row.key: row.state for row in collect(folder).rows}
    assert states["urbansyn_uda4inst"] == "finished"
    assert states["urbansyn_source_only"] == "not run"
    assert states["synthia_uda4inst"] == "not run: no data of this source at this scale"


BOUNDS = {"m1": {0: 5.0, 1: 6.0}, "oracle": {0: 15.0, 1: 26.0}}


def shares(results: SuiteResults, key: str) -> tuple[float, float, float, int] | None:
    found = results.gap_closed(results.row(key), "student", "cityscapes")
    return None if found is None else (found.mean, *found.spread, found.n)


def test_gap_closed__share_of_means_and_spread_of_seeds(write_suite: Write) -> None:
    values = {**BOUNDS, "m5": {0: 11.0, 1: 11.0}}
    results = collect(write_suite("table5", values, seeds=(0, 1)))
    # Means 11 between 5.5 and 20.5; single seeds 6 of 10 and 5 of 20.
    assert shares(results, "m5") == pytest.approx((100 * 5.5 / 15, 25, 60, 2))


def test_gap_closed__only_over_seeds_that_all_have(write_suite: Write) -> None:
    results = collect(write_suite("table5", {**BOUNDS, "m5": {0: 11.0, 2: 40.0}}, seeds=(0, 1, 2)))
    assert shares(results, "m5") == pytest.approx((60, 60, 60, 1))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param({**BOUNDS, "m5": {0: 11.0}}, "m1", id="of-a-bound"),
        pytest.param({"m1": {0: 5.0}, "m5": {0: 11.0}}, "m5", id="no-upper-bound"),
        pytest.param({**BOUNDS, "m5": {}}, "m5", id="not-run"),
        pytest.param(
            {"m1": {0: 5.0}, "oracle": {0: 4.0}, "m5": {0: 11.0}}, "m5", id="no-gap-at-all"
        ),
    ],
)
def test_gap_closed__none(write_suite: Write, values: Mapping, key: str) -> None:
    assert shares(collect(write_suite("table5", values)), key) is None


@pytest.mark.parametrize(
    ("key", "share"),
    [("urbansyn_uda4inst", 59), ("synscapes_uda4inst", 48), ("synthia_uda4inst", 37)],
)
def test_paper_gap_closed__is_what_the_paper_closes(
    write_suite: Write, key: str, share: int
) -> None:
    results = collect(write_suite("table1", {}, scale="paper"))
    closed = results.paper_gap_closed(results.row(key))
    assert closed is not None
    assert round(closed) == share


def test_collect__damaged_evaluation_is_one_message(write_suite: Write) -> None:
    folder = write_suite("table5", {"m3": {0: 9.0}})
    (folder / "runs" / "m3-seed0" / "evaluation" / "00000009.json").write_text("{")
    with pytest.raises(UserError, match="evaluation must be a readable JSON file"):
        collect(folder)


def test_collect__where_numbers_come_from(write_suite: Write) -> None:
    (run,) = collect(write_suite("table5", {"m3": {0: 9.0}})).row("m3").runs
    assert run.commit == "abc1 to abc2"
    assert run.config_hash == "hash-m3-0"
    assert run.hardware == "a machine, 2 cores"
    assert run.data == "100 of 100 images of Cityscapes (toy) val"


def test_collect__a_record_that_does_not_say_where_it_computed(write_suite: Write) -> None:
    folder = write_suite("table5", {"m1": {0: 10.0}})
    (folder / "records.jsonl").write_text('{"run": "m1-seed0", "end": "finished"}\n')
    ((run,), *_) = (row.finished for row in collect(folder).rows)
    assert run.hardware == ""
