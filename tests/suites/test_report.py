from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from suite_factory import write_finished, write_resamples

from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.figures import draw_chart
from uda4inst.suites.report import (
    latex,
    markdown,
    write_report,
)
from uda4inst.suites.report_csv import CSV_COLUMNS, csv_text
from uda4inst.suites.results import collect
from uda4inst.suites.rows import NETWORKS, PROTOCOLS, View
from uda4inst.suites.tables import difference_tables, provenance, tables

Write = Callable[..., Path]
VIEW: list[View] = [("cityscapes", "student")]
EVERYTHING: list[View] = [(p, n) for p in PROTOCOLS for n in NETWORKS]
TABLE5 = {
    "m1": {0: 5.0, 1: 7.0},
    "m2": {0: 6.0, 1: 8.0},
    "m3": {0: 8.0, 1: 9.0},
    "m5": {0: 12.0},
    "oracle": {0: 15.0, 1: 17.0},
}


@pytest.fixture
def table5(write_suite: Write) -> Path:
    return write_suite("table5", TABLE5, seeds=(0, 1))


def cells_of(text: str, label: str) -> list[str]:
    """Return the cells of the first Markdown line that begins with a label."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown__paper_beside_ours(table5: Path) -> None:
    text = markdown(collect(table5), VIEW)
    header = cells_of(text, " | CMT")
    assert header[1:] == [
        *("CMT", "BDM", "RcB", "paper AP", "AP", "paper AP50", "AP50", "paper gap", "gap", "n")
    ]
    m3 = cells_of(text, "M3")
    assert m3[:6] == ["M3 [a]", "", "✓", "", "36.1", "8.5 (8.0–9.0)"]
    # Paper: (36.1 - 32.0) / (43.9 - 32.0); ours: (8.5 - 6) / (16 - 6).
    assert m3[6:] == ["not published", "17.0 (16.0–18.0)", "34 %", "25 % (20–30)", "2"]


def test_markdown__what_was_not_run_says_so(table5: Path) -> None:
    text = markdown(collect(table5), VIEW)
    assert cells_of(text, "M4")[4:8] == ["37.7", "not run", "not published", "not run"]
    assert cells_of(text, "M5")[5] == "12.0 (12.0–12.0)"
    assert cells_of(text, "M5")[-1] == "1"


def test_markdown__every_row_of_every_suite(write_suite: Write) -> None:
    for name, suite in SUITES.items():
        results = collect(write_suite(name, {}))
        (table,) = [t for t in tables(results, VIEW) if "by class" not in t.title]
        assert sum(len(row) > 1 for row in table.rows) == len(suite.rows)


def test_markdown__unpublished_numbers(write_suite: Write) -> None:
    table2 = markdown(collect(write_suite("table2", {})), VIEW)
    assert cells_of(table2, "S2T [b]")[1] == "not published"
    assert cells_of(table2, "T2S")[1] == "35.07"
    table3 = markdown(collect(write_suite("table3", {})), VIEW)
    assert cells_of(table3, "0.5 / 0.5 [b]")[1] == "not published"
    assert cells_of(table3, "no mixing [a]")[1] == "34.8"


def test_markdown__footnotes(write_suite: Write) -> None:
    table5 = markdown(collect(write_suite("table5", {})), VIEW)
    assert (
        "[a] The paper gives bidirectional mixing alone as 37.18 in Table 2 and as 36.1" in table5
    )
    assert "[b] The paper gives category groups alone as 35.5 in Table 4 and as 34.8" in table5
    assert cells_of(table5, "M2")[0] == "M2 [b]"
    table1 = markdown(collect(write_suite("table1", {})), VIEW)
    assert "these means are over its 6 classes" in table1


def test_markdown__one_source_at_toy_scale(write_suite: Write) -> None:
    text = markdown(collect(write_suite("table1", {"oracle": {0: 9.0}})), VIEW)
    assert "**Synscapes → Cityscapes**" in text
    assert text.count("not run: no data of this source at this scale") >= 6
    assert "ToyStreets" in text


def test_markdown__where_the_numbers_come_from(table5: Path) -> None:
    text = markdown(collect(table5), VIEW)
    line = next(line for line in text.splitlines() if line.startswith("Data: "))
    for part in (
        "100 of 100 images of Cityscapes (toy) val",
        "commit: abc1 to abc2",
        "command: `uda4inst suite table5`",
        "date: 2026-11-21",
        "hardware: a machine, 2 cores",
        "m3 hash-m3-0 hash-m3-1",
    ):
        assert part in line
    assert text.count("\nData: ") == 3


def test_markdown__class_tables(table5: Path) -> None:
    text = markdown(collect(table5), VIEW)
    by_class = text[text.index("## AP by class") :]
    assert cells_of(by_class, "M3")[1:3] == ["27.7 / 8.5", "23.2 / 9.5"]
    assert cells_of(by_class, "M3")[6] == "52.7 / –"
    assert cells_of(by_class, "M4")[1] == "28.9 / not run"


def test_csv__has_the_difference_of_a_student_to_a_teacher(table5: Path) -> None:
    for row in ("m3", "oracle"):
        for seed, ap in ((0, 8.0), (1, 9.0)):
            name = f"{row}-seed{seed}"
            write_resamples(table5, name, ap)
            (path,) = (table5 / "runs" / name).rglob("student_resampled.npz")
            shutil.copy(path, path.with_name("teacher_resampled.npz"))
    lines = list(csv.DictReader(csv_text(collect(table5), EVERYTHING).splitlines()))
    found = [
        (line["network"], line["minus_network"])
        for line in lines
        if (line["row"], line["minus"], line["class"]) == ("oracle", "m3", "all")
        and line["metric"] == "AP difference"
    ]
    assert found == [("student", "student"), ("student", "teacher")]


def test_differences__are_of_rows_judged_on_one_data_set(table5: Path) -> None:
    for row, ap in (("m1", 5.0), ("m3", 8.0), ("oracle", 15.0)):
        for seed in (0, 1):
            write_resamples(table5, f"{row}-seed{seed}", ap)
    results = collect(table5)
    m1, m3, top = (results.row(key) for key in ("m1", "m3", "oracle"))
    view = ("student", "cityscapes", "AP")
    assert results.difference(m3, m1, *view) is not None
    assert results.share_closed(m3, *view) is not None
    path = table5 / "runs" / "m3-seed0" / "evaluation" / "00000009.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "another"}))
    results = collect(table5)
    m1, m3, top = (results.row(key) for key in ("m1", "m3", "oracle"))
    apart, share = results.difference(m3, m1, *view), results.share_closed(m3, *view)
    assert apart is not None
    assert share is not None
    assert apart.n == share.n == 1
    whole = results.difference(top, m1, *view)
    assert whole is not None
    assert whole.n == 2


def test_csv__parses_back_with_all_digits(table5: Path) -> None:
    lines = list(csv.DictReader(csv_text(collect(table5), EVERYTHING).splitlines()))
    assert tuple(lines[0]) == CSV_COLUMNS
    found = {
        (line["row"], line["network"], line["protocol"], line["metric"], line["class"]): line
        for line in lines
    }
    # Three rows have no teacher: their student's numbers stand there once.
    assert len(found) == len(lines) == (6 * 4 - 3 * 2) * (2 * 9 + 2)
    assert {line["images"] for line in lines if line["state"] == "finished"} == {"100"}
    m3 = found["m3", "student", "cityscapes", "AP", "all"]
    assert (float(m3["paper"]), float(m3["mean"])) == pytest.approx((36.1, 8.5))
    assert (float(m3["min"]), float(m3["max"]), int(m3["n"])) == pytest.approx((8, 9, 2))
    gap = found["m3", "student", "cityscapes", "AP gap", "all"]
    assert float(gap["mean"]) == pytest.approx(25)
    m4 = found["m4", "teacher", "coco", "AP50", "rider"]
    assert (m4["mean"], m4["n"], m4["state"]) == ("", "0", "not run")


def test_markdown__rows_of_several_sources_that_are_not_compared_say_whose(
    write_suite: Write,
) -> None:
    values = {"urbansyn_source_only": {0: 10.0}, "urbansyn_uda4inst": {0: 12.0}}
    text = markdown(collect(with_resamples(write_suite("table1", values))), VIEW)
    line = next(line for line in text.splitlines() if "Not compared" in line)
    assert "UDA4Inst (Synscapes → Cityscapes)" in line
    assert "UDA4Inst (UrbanSyn → Cityscapes)" not in line
    text = markdown(
        collect(with_resamples(write_suite("table5", {"m1": {0: 1.0}, "m2": {0: 2.0}}))), VIEW
    )
    assert "judged on the same images: M3, M4, M5, upper bound" in text


def test_markdown__a_students_numbers_among_a_teachers_say_so(table5: Path) -> None:
    text = markdown(collect(table5), [("cityscapes", "teacher")])
    assert cells_of(text, "M1")[0] == "M1 (student)"
    assert cells_of(text, "M3")[0] == "M3 [a]"


def test_markdown__a_rehearsal_says_no_gap_and_marks_no_difference(write_suite: Write) -> None:
    values = {"m1": {0: 10.0}, "m3": {0: 15.0}, "oracle": {0: 12.0}}
    folder = with_resamples(write_suite("table5", values, scale="smoke"))
    text = markdown(collect(folder), VIEW)
    assert cells_of(text, "M3")[9] == "–"
    assert " * |" not in text
    assert "A rehearsal: no gap is said, and no difference is marked." in text


def test_markdown__rows_judged_on_other_images_are_marked_and_not_compared(
    write_suite: Write,
) -> None:
    values = {"m1": {0: 10.0}, "m3": {0: 15.0}, "oracle": {0: 20.0}}
    folder = with_resamples(write_suite("table5", values))
    path = folder / "runs" / "m3-seed0" / "evaluation" / "00000009.json"
    few = {"images": 16, "image_names": "1" * 16}
    path.write_text(json.dumps(json.loads(path.read_text()) | few))
    predictions = path.parent / "predictions" / "00000009"
    (predictions / "student_resampled.npz").unlink()
    text = markdown(collect(folder), VIEW)
    assert cells_of(text, "M3")[0] == "M3 † [a]"
    assert cells_of(text, "M3")[9] == "–"  # no gap between bounds on other images
    assert cells_of(text, "M1")[0] == "M1"
    assert "† judged on other images than the rows beside it" in text
    assert "M3: 16 of 100 images of Cityscapes (toy) val" in text
    assert "student, last step, 100 of 100 images and 16 of 100 images" in text


def test_latex__parses_back(table5: Path) -> None:
    text = latex(collect(table5), VIEW)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in lines]
    assert {len(line) for line in cells} == {11}
    assert cells[2][:6] == ["M3 [a]", "", r"$\checkmark$", "", "36.1", "8.5 (8.0--9.0)"]
    assert cells[2][-2] == r"25 \% (20--30)"
    assert not re.search(r"(?<!\\)[%_#&](?! )", body.replace(" & ", ""))


def test_latex__specials_are_escaped(write_suite: Write) -> None:
    text = latex(collect(write_suite("table4", {})), VIEW)
    assert r"\{P, R, bus, MC\}, \{car, truck, train, bicycle\}" in text


def test_write_report__files_and_charts(table5: Path) -> None:
    written = write_report(collect(table5), table5 / "report", networks=["student", "teacher"])
    names = [path.name for path in written]
    assert names == [
        "report.md",
        "report.csv",
        "report.tex",
        "fig4.png",
        "fig4-urbansyn-cityscapes-teacher.png",
        "fig4-urbansyn-coco-student.png",
        "fig4-urbansyn-coco-teacher.png",
    ]
    assert all(path.stat().st_size > 0 for path in written)
    assert "(fig4.png)" in written[0].read_text()


def test_draw_chart__long_names_stay_within(write_suite: Write) -> None:
    rows = {f"groups{number}": {0: 10.0} for number in range(1, 6)}
    results = collect(write_suite("table4", rows, seeds=(0,)))
    axes = draw_chart(results, results.rows, *VIEW[0]).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 6
    assert legend.get_window_extent().width <= axes.get_window_extent().width


def test_write_report__nothing_run(write_suite: Write) -> None:
    folder = write_suite("table2", {})
    written = write_report(collect(folder), folder / "report", networks=["student"])
    assert [path.name for path in written] == ["report.md", "report.csv", "report.tex"]
    assert "Nothing is finished yet" in written[0].read_text()


def with_resamples(folder: Path) -> Path:
    """Give every run of Table 5 that is there scores by resample."""
    for run in (folder / "runs").iterdir():
        record = json.loads((run / "evaluation" / "00000009.json").read_text())
        ap = 100 * record["results"]["student"]["cityscapes"]["AP"]
        write_resamples(folder, run.name, ap)
    return folder


def test_tables__rows_apart_with_intervals(write_suite: Write) -> None:
    values = {"m1": {0: 10.0, 1: 11.0}, "m3": {0: 15.0, 1: 16.5}, "m4": {0: 15.0, 1: 16.3}}
    results = collect(with_resamples(write_suite("table5", values, seeds=(0, 1))))
    means, apart, by_class, *_ = tables(results, [("cityscapes", "student")])
    assert means.title == "Cityscapes protocol, student, last step, 100 of 100 images"
    assert apart.title == f"Differences in AP, {means.title}"
    assert apart.header == ("row minus column", "M1", "M3")
    m3, m4 = apart.rows
    assert m3[0] == "M3"
    assert m3[1].startswith("+5.2 (")
    assert m3[1].endswith(" *")
    assert m4[1].endswith(" *")
    assert m4[2].startswith("-0.1 (")
    assert not m4[2].endswith("*")  # a tenth either way: seeds alone move it by .15
    assert "seeds (2) within scene sets (1)" in apart.notes[0]
    # M2 was not run, so M3 is beside M1. Trains were not judged: the mean is motorcycles'.
    assert [line[0] for line in by_class.rows] == ["M3 − M1", "M4 − M3"]
    assert by_class.header[1] == "mean of train and motorcycle"
    assert by_class.rows[0][1].startswith("+5.2 (")
    # Only the headline's protocol and the judged network have resamples.
    assert len(list(tables(results, [("coco", "student")]))) == 3
    lines = list(csv.DictReader(io.StringIO(csv_text(results, [("cityscapes", "student")]))))
    (found,) = (
        line
        for line in lines
        if (line["row"], line["minus"], line["metric"], line["class"])
        == ("m3", "m1", "AP difference", "all")
    )
    assert "train+motorcycle" in {line["class"] for line in lines}
    assert float(found["mean"]) == pytest.approx(5.25)
    assert found["n"] == "2"
    assert float(found["low"]) < 5.25 < float(found["high"])


def test_tables__without_resamples_have_no_differences(table5: Path) -> None:
    assert not list(difference_tables(collect(table5), "cityscapes", "student"))


def test_markdown__rows_of_several_sources_are_told_apart(write_suite: Write) -> None:
    rows = ("urbansyn_source_only", "urbansyn_uda4inst", "synscapes_source_only")
    folder = write_suite(
        "table1", {row: {0: 10.0 + i} for i, row in enumerate(rows)}, scale="paper"
    )
    (everything, _) = difference_tables(collect(with_resamples(folder)), "cityscapes", "student")
    assert everything.header[1:] == (
        "w/o UDA (UrbanSyn → Cityscapes)", "UDA4Inst (UrbanSyn → Cityscapes)"
    )  # fmt: skip
    assert everything.rows[-1][0] == "w/o UDA (Synscapes → Cityscapes)"


def test_markdown__a_finished_run_that_lost_its_evaluation(table5: Path) -> None:
    shutil.rmtree(table5 / "runs" / "m5-seed0" / "evaluation")
    text = markdown(collect(table5), VIEW)
    assert "not finished (finished, not evaluated, not run)" in text
    for seed in (0, 1):
        shutil.rmtree(table5 / "runs" / f"m1-seed{seed}" / "evaluation")
    row = collect(table5).row("m1")
    assert row.state.startswith("not evaluated: uda4inst evaluate")


def test_provenance__command_can_be_pasted_and_says_what_it_was_not_asked_for(
    write_suite: Write,
) -> None:
    folder = write_suite("table2", {})
    for name in ("none-scenes5-seed0", "none-scenes6-seed1"):
        write_finished(folder, name, 10.0)
    path = folder / "suite.yaml"
    told = yaml.safe_load(path.read_text())
    runs = [
        {"name": f"none-scenes{5 + n}-seed{n}", "stage1": "", "scenes": 5 + n, "seed": n}
        for n in (0, 1)
    ]
    words = [*told["command"], "--scenes", "5,6", "--set", "data.crop=[64, 128]"]
    path.write_text(yaml.safe_dump(told | {"runs": runs, "command": words}))
    text = provenance(collect(folder))
    assert "--set 'data.crop=[64, 128]'` (2 of its 4 pairs of scene set and seed)" in text
