from __future__ import annotations

import pytest

from uda4inst.run_folder.layout import RUN_NAME
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.own_tables import THRESHOLDS


def printed(suite: str) -> dict[str, float | None]:
    return {row.key: row.paper.ap if row.paper else None for row in SUITES[suite].rows}


@pytest.mark.parametrize(
    ("suite", "numbers"),
    [
        pytest.param("table1", [32.0, 39.0, 43.9, 28.1, 35.7, 43.9, 24.6, 31.3, 42.6], id="table1"),
        pytest.param("table2", [31.95, 35.07, None, 37.18, 43.9], id="table2"),
        pytest.param("table3", [34.80, 38.09, None, 38.99, 43.9], id="table3"),
        pytest.param("table4", [32.0, 33.9, 35.0, 35.1, 35.5, 43.9], id="table4"),
        pytest.param("table5", [32.0, 34.8, 36.1, 37.7, 39.0, 43.9], id="table5"),
        pytest.param(
            "thresholds", [32.0, None, None, None, None, 39.0, None, 43.9], id="thresholds"
        ),
    ],
)
def test_suites__hold_the_numbers_of_the_paper(suite: str, numbers: list[float | None]) -> None:
    assert list(printed(suite).values()) == numbers


def test_suites__keys_name_runs() -> None:
    for suite in SUITES.values():
        keys = [row.key for row in suite.rows]
        assert len(set(keys)) == len(keys)
        assert all(RUN_NAME.fullmatch(row.run_key) for row in suite.rows)


def test_suites__every_footnote_is_used_and_known() -> None:
    for suite in SUITES.values():
        used = {note for row in suite.rows for note in row.footnotes}
        assert used == set(suite.footnotes)


def test_suites__the_inconsistencies_are_footnoted() -> None:
    assert SUITES["table5"].row("m3").footnotes == ("mixing",)
    assert SUITES["table2"].row("both").footnotes == ("mixing",)
    assert SUITES["table5"].row("m2").footnotes == ("groups",)
    assert SUITES["table4"].row("groups5").footnotes == ("groups",)
    assert SUITES["table1"].row("synthia_uda4inst").footnotes == ("synthia",)


def test_bound__is_that_of_the_rows_benchmark() -> None:
    suite = SUITES["table1"]
    row = suite.row("synthia_uda4inst")
    low, high = suite.bound(row, "lower_bound"), suite.bound(row, "upper_bound")
    assert low is not None
    assert high is not None
    assert (low.key, high.key) == ("synthia_source_only", "synthia_oracle")


def test_thresholds__one_row_each() -> None:
    rows = [row for row in SUITES["thresholds"].rows if row.role == "row"]
    assert [row.settings["method.score_threshold"] for row in rows] == list(THRESHOLDS)


def test_extensions__each_row_is_the_plain_one_and_what_its_key_says() -> None:
    suite = SUITES["extensions"]
    plain = dict(suite.row("plain").settings)
    rows = [row for row in suite.rows if row.role == "row" and row.key != "plain"]
    assert len(rows) == 9
    for row in rows:
        assert row.settings.keys() == plain.keys()
        added = {k for k, v in row.settings.items() if plain[k] != v}
        assert len(added) == 1 + row.key.count("_")
