from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import create_run
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import Expansion
from uda4inst.suites.folder import (
    SuiteFolder,
    add_record,
    check_unchanged,
    describe,
    locked,
    open_suite,
    read_records,
    recorded_cells,
    recorded_rows,
    write_config,
)
from uda4inst.training.config import load_config, to_yaml

Expand = Callable[..., tuple[SuiteFolder, Expansion]]
Write = Callable[..., Path]


def begin_all(folder: SuiteFolder, expansion: Expansion) -> None:
    for run in expansion.runs:
        create_run(folder.run(run.name), config_yaml=to_yaml(run.config))


def test_check_unchanged__same_configuration(expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    check_unchanged(folder, expansion)
    begin_all(folder, expansion)
    check_unchanged(folder, expansion)


def test_check_unchanged__settings_that_change_no_result(expanded: Expand) -> None:
    begin_all(*expanded("table2"))
    check_unchanged(*expanded("table2", "training.checkpoint_every=7", "data.workers=2"))


def test_check_unchanged__pool_settings_matter_to_rows_with_a_pool(expanded: Expand) -> None:
    for table in ("table2", "table5"):
        begin_all(*expanded(table))
    check_unchanged(*expanded("table2", "method.pool.area_budget=0.1"))
    with pytest.raises(
        UserError, match=r"another for m5 \(seed 0\): method\.pool\.area_budget was"
    ):
        check_unchanged(*expanded("table5", "method.pool.area_budget=0.1"))


def test_check_unchanged__rare_classes_that_the_data_chose(expanded: Expand) -> None:
    folder, expansion = expanded("table5", "method.pool.rare_classes=[]")
    m5 = next(run for run in expansion.runs if run.row == "m5")
    assert m5.config.method.left_to_source == ("pool.rare_classes",)
    chosen = load_config(write_config(folder, m5), ["method.pool.rare_classes=[bus, rider]"])
    create_run(folder.run(m5.name), config_yaml=to_yaml(chosen))
    check_unchanged(folder, expansion)


def test_check_unchanged__names_rows_setting_and_what_to_do(expanded: Expand) -> None:
    folder, expansion = expanded("table5", seeds=(0, 1))
    begin_all(folder, expansion)
    with pytest.raises(UserError) as refused:
        check_unchanged(*expanded("table5", "method.score_threshold=0.7", seeds=(0, 1)))
    message = str(refused.value)
    assert "another for m3 (seed 0; seed 1), m4 (seed 0; seed 1), m5 (seed 0; seed 1): " in message
    assert "method.score_threshold was 0.8, is 0.7" in message
    assert "another --root" in message
    assert str(folder.path) in message
    assert "\n" not in message


def test_check_unchanged__only_the_rows_that_were_begun(expanded: Expand) -> None:
    folder, expansion = expanded("table5")
    m3 = next(run for run in expansion.runs if run.row == "m3")
    create_run(folder.run(m3.name), config_yaml=to_yaml(m3.config))
    with pytest.raises(UserError, match=r"another for m3 \(seed 0\): "):
        check_unchanged(*expanded("table5", "method.ema_decay=0.5"))


def test_check_unchanged__a_configuration_that_is_refused_now(expanded: Expand) -> None:
    folder, expansion = expanded("table2")
    run = folder.run(expansion.runs[0].name)
    create_run(run, config_yaml="nonsense: 1")
    with pytest.raises(UserError, match=r"stage 1 \(seed 0\): its config.yaml is refused"):
        check_unchanged(folder, expansion)


def test_describe__rows_that_were_asked_for(expanded: Expand, write_suite: Write) -> None:
    folder, expansion = expanded("table5")
    assert recorded_rows(folder) == ()
    describe(folder, expanded("table5", rows=("m5", "m1"))[1])
    assert recorded_rows(folder) == ("m1", "m5")
    describe(folder, expansion)
    assert recorded_rows(folder) == expansion.rows
    earlier = SuiteFolder(write_suite("table5", {}))  # its description names no rows
    assert recorded_rows(earlier) == expansion.rows


def test_describe__is_read_back(expanded: Expand) -> None:
    folder, expansion = expanded("table2", "optim.lr=1e-3", seeds=(2, 0))
    assert recorded_cells(folder) == ()
    describe(folder, expansion)
    assert recorded_cells(folder) == (Cell(None, 2), Cell(None, 0))
    _, values = open_suite(folder.path)
    assert (values["suite"], values["scale"]) == ("table2", "smoke")
    assert values["overrides"] == ["optim.lr=1e-3"]
    assert values["hash"] == expansion.hash
    assert [run["name"] for run in values["runs"]] == [run.name for run in expansion.runs]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "must hold a readable suite.yaml", id="none"),
        pytest.param("a: [", "must hold a readable suite.yaml", id="not-yaml"),
        pytest.param("[1]", "must say suite, scale and seeds", id="a-list"),
        pytest.param("suite: table2", "must say suite, scale and seeds", id="incomplete"),
        pytest.param("{suite: table9, scale: toy, seeds: [0]}", "must be one of", id="unknown"),
        pytest.param("{suite: [a], scale: toy, seeds: [0]}", r"\(suite: .*valid string", id="list"),
        pytest.param("{suite: table2, scale: toy, seeds: a}", r"\(seeds: .*valid list", id="seeds"),
        pytest.param(
            "{suite: table2, scale: toy, seeds: [0], runs: [{row: m1}]}",
            r"\(runs.0.name",
            id="runs",
        ),
    ],
)
def test_open_suite__what_is_not_one(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        open_suite(tmp_path)


def test_records__half_a_line_is_passed_over(tmp_path: Path) -> None:
    folder = SuiteFolder(tmp_path)
    assert read_records(folder) == {}
    add_record(folder, {"run": "a", "end": "finished"})
    with folder.records.open("a") as file:
        file.write('{"run": "a", "end":')
    assert read_records(folder) == {"a": [{"run": "a", "end": "finished"}]}


def test_locked__one_at_a_time(tmp_path: Path) -> None:
    folder = SuiteFolder(tmp_path / "suite")
    with (
        locked(folder),
        pytest.raises(UserError, match="must be run by one process"),
        locked(folder),
    ):
        pass
    with locked(folder):
        pass
