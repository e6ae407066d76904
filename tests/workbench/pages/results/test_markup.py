from __future__ import annotations

from pathlib import Path
from types import ModuleType

from uda4inst.suites.found import found_table
from uda4inst.suites.results import collect
from uda4inst.suites.rows import View
from uda4inst.suites.tables import difference_tables, tables
from workbench.pages.results import markup
from workbench.pages.results.markup import (
    class_table,
    differences,
    footnotes,
    means_table,
    run_states,
    suite_facts,
)
from workbench.stores.suites import SuiteRun

STUDENT: View = ("cityscapes", "student")
COCO: View = ("coco", "teacher")


def means(folder: Path, view: View = STUDENT) -> dict[str, str]:
    """Return the lines of the means table by the beginning of their labels."""
    results = collect(folder)
    html = means_table(next(iter(tables(results, [view]))), results, view)
    lines = html.split("<tr ")[1:]
    return {line.split('label">')[-1].split("<")[0].split(" ")[0]: line for line in lines}


def test_means_table__paper_and_ours(tmp_path: Path, suite_factory: ModuleType) -> None:
    values = {"m1": {0: 10.0, 1: 12.0}, "m2": {0: 15.0}, "oracle": {0: 30.0, 1: 32.0}}
    folder = suite_factory.write_suite(tmp_path / "a", "table5", values, seeds=(0, 1))
    rows = means(folder)
    assert "32.0" in rows["M1"]
    assert "<b>11.0</b> <small>(10.0–12.0)</small>" in rows["M1"]
    assert "<b>25 %</b></td>" in rows["M2"]
    assert "1 <small>of 2</small>" in rows["M2"]
    assert "<sup>b</sup>" in rows["M2"]
    assert rows["M5"].count("✓") == 3
    assert "wb-extra" in rows["upper"]


def test_means_table__rows_without_runs_are_there_and_quiet(
    tmp_path: Path, suite_factory: ModuleType
) -> None:
    folder = suite_factory.write_suite(tmp_path / "a", "table5", {"m1": {0: 10.0}})
    rows = means(folder)
    assert "wb-not-run" in rows["M4"]
    assert '<span class="wb-faint">not run</span>' in rows["M4"]
    assert "37.7" in rows["M4"]
    assert "wb-not-run" not in rows["M1"]
    assert '<span class="wb-faint">not published</span>' in rows["M1"]


def test_means_table__sources_have_headings(tmp_path: Path, suite_factory: ModuleType) -> None:
    results = collect(suite_factory.write_suite(tmp_path / "a", "table1", {}))
    html = means_table(next(iter(tables(results, [STUDENT]))), results, STUDENT)
    assert html.count("wb-benchmark") == 3
    assert "no data of this source at this scale" in html


def test_class_table__paper_before_ours(tmp_path: Path, suite_factory: ModuleType) -> None:
    results = collect(suite_factory.write_suite(tmp_path / "a", "table5", {"m1": {0: 10.0}}))
    _, ap, _ = tables(results, [STUDENT])
    html = class_table(ap)
    assert '<span class="wb-faint">25.1 /</span> <b>10.0</b>' in html
    assert '<details class="wb-details" data-entry="AP by class">' in html
    assert "images" in ap.title  # which the name does not follow


def test_footnotes__say_what_the_papers_numbers_are(
    tmp_path: Path, suite_factory: ModuleType
) -> None:
    results = collect(suite_factory.write_suite(tmp_path / "a", "table5", {"m1": {0: 10.0}}))
    notes = next(iter(tables(results, [STUDENT]))).notes
    assert "Cityscapes protocol" not in footnotes(notes, STUDENT)
    assert "COCO protocol, teacher" in footnotes(notes, COCO)
    assert "[a] The paper gives bidirectional mixing" in footnotes(notes, STUDENT)
    assert "hash-m1-seed0" in footnotes(notes, STUDENT)


def test_suite_facts__command_is_escaped(tmp_path: Path, suite_factory: ModuleType) -> None:
    results = collect(suite_factory.write_suite(tmp_path / "a", "table5", {}))
    command = ["uda4inst", "<b>"]
    assert isinstance(results.description, dict)
    results.description["command"] = command
    html = suite_facts(results, "0123")
    assert "uda4inst &lt;b&gt;" in html
    assert 'data-stamp="0123"' in html


def test_run_states__counts_all_and_names_those_in_trouble() -> None:
    runs = [
        SuiteRun("m1-seed0", "finished", 9, 9),
        SuiteRun("m2-seed0", "failed", 3, 1200, "loss must be <finite>"),
        *(SuiteRun(f"m3-seed{seed}", "missing") for seed in range(8)),
    ]
    html = run_states(runs)
    for words in ("1 of 10 runs", "1 finished", "1 failed", "8 missing", "3 of 1,200"):
        assert words in html
    assert "&lt;finite&gt;" in html
    assert "m1-seed0" not in html
    assert "m3-seed5 and 2 more" in html


def test_differences__bold_beyond_the_interval_and_quiet_within(
    tmp_path: Path, suite_factory: ModuleType
) -> None:
    values = {"m1": {0: 10.0, 1: 11.0}, "m3": {0: 15.0, 1: 16.5}, "m4": {0: 15.0, 1: 16.3}}
    folder = suite_factory.write_suite(tmp_path / "a", "table5", values, seeds=(0, 1))
    assert differences(list(difference_tables(collect(folder), *STUDENT))) == ""
    for row, by_seed in values.items():
        for seed, ap in by_seed.items():
            suite_factory.write_resamples(folder, f"{row}-seed{seed}", ap)
    html = differences(list(difference_tables(collect(folder), *STUDENT)))
    assert (
        "<h4>Differences in AP, Cityscapes protocol, student, last step, 100 of 100 images</h4>"
        in html
    )
    assert "<b>+5.2</b> <small>(" in html
    assert '<span class="wb-faint">-0.1 <small>(' in html
    assert "<summary>Differences in AP by class" in html
    assert "95 % interval" in html


def test_noted_table__cells_and_what_they_mean(tmp_path: Path, suite_factory: ModuleType) -> None:
    folder = suite_factory.write_suite(tmp_path / "s", "table5", {"m1": {0: 10.0}})
    assert markup.noted_table(found_table(collect(folder), "student")) == ""
    suite_factory.write_found(folder, "m1-seed0", {"car": (10, 8, 6)})
    html = markup.noted_table(found_table(collect(folder), "student"))
    assert "75 / 60, 0.80" in html
    assert "Detections with a score above 0.5" in html
