from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.methods.uda4inst import UDA4InstConfig
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import Expansion, cells_of, expand, stage1_hash
from uda4inst.suites.scales import find_scale
from uda4inst.training.config import Config, load_config


def runs_of(
    name: str,
    *overrides: str,
    scale: str = "toy",
    seeds: tuple[int, ...] = (0,),
    scenes: tuple[int, ...] = (),
    rows: tuple[str, ...] = (),
) -> Expansion:
    size = find_scale(scale)
    return expand(
        SUITES[name],
        size,
        cells_of(size, seeds, scenes),
        root=Path("/suites/runs"),
        overrides=overrides,
        rows=rows,
    )


def config_of(expansion: Expansion, name: str) -> Config:
    return next(run.config for run in expansion.runs if run.name == name)


@pytest.mark.parametrize(
    ("suite", "scale", "stage1", "rows"),
    [
        pytest.param("table1", "toy", 2, 3, id="one-source"),
        pytest.param("table1", "paper", 6, 7, id="three-sources-one-oracle"),
        pytest.param("table2", "toy", 1, 5, id="table2"),
        pytest.param("table3", "toy", 1, 5, id="table3"),
        pytest.param("table4", "toy", 5, 6, id="a-stage-1-for-every-grouping"),
        pytest.param("table5", "toy", 2, 6, id="table5"),
        pytest.param("thresholds", "toy", 1, 8, id="thresholds"),
        pytest.param("extensions", "toy", 1, 12, id="extensions"),
        pytest.param("thresholds", "paper", 2, 8, id="thresholds-of-two-groups"),
    ],
)
def test_expand__counts_and_shared_stage_1(suite: str, scale: str, stage1: int, rows: int) -> None:
    runs = runs_of(suite, scale=scale, seeds=(0, 1)).runs
    assert sum(not run.row for run in runs) == 2 * stage1
    assert sum(bool(run.row) for run in runs) == 2 * rows
    assert len({run.name for run in runs}) == len(runs)


def test_expand__stage_1_stands_before_what_starts_from_it() -> None:
    seen: set[str] = set()
    for run in runs_of("table5", seeds=(3, 1)).runs:
        assert not run.stage1 or run.stage1 in seen
        assert run.config.training.stage2_from == (run.stage1 or None)
        seen.add(run.name)


def test_expand__rows_of_table_5_share_by_groups() -> None:
    starts = {run.row: run.stage1 for run in runs_of("table5").runs if run.row}
    assert starts["m1"] == starts["m3"] != ""
    assert starts["m2"] == starts["m4"] == starts["m5"] != ""
    assert starts["m1"] != starts["m2"]
    assert starts["oracle"] == ""


def test_expand__stage_1_is_source_training_alone() -> None:
    expansion = runs_of("table5")
    m5 = config_of(expansion, "m5-scenes5-seed0")
    stage1 = config_of(expansion, m5.training.stage2_from or "")
    assert stage1.method.name == "source_only"
    assert stage1.method.groups == m5.method.groups == "two"
    assert stage1.training.stage2_steps == 0
    assert stage1.training.stage1_steps == m5.training.stage1_steps
    assert (stage1.model, stage1.optim, stage1.data) == (m5.model, m5.optim, m5.data)


def test_expand__same_runs_in_two_suites_have_one_hash() -> None:
    table2, table5 = (
        {r.name: r.config_hash for r in runs_of(n).runs} for n in ("table2", "table5")
    )
    assert table5["m1-scenes5-seed0"] == table2["none-scenes5-seed0"]
    assert table5["m3-scenes5-seed0"] == table2["both-scenes5-seed0"]
    assert table5["oracle-scenes5-seed0"] == table2["oracle-scenes5-seed0"]
    assert {name for name in table2 if name.startswith("stage1")} <= set(table5)


def test_expand__hash_does_not_depend_on_the_root() -> None:
    suite, scale = SUITES["table5"], find_scale("toy")
    cells = cells_of(scale, [0])
    here, there = (expand(suite, scale, cells, root=Path(root)) for root in ("/a", "/b/c"))
    assert here.hash == there.hash
    assert here.hash != runs_of("table5", "training.batch_size=2").hash


BASE = ("toystreets_demo", "method.groups=one")


@pytest.mark.parametrize(
    "override",
    [
        "seed=5",
        "run.name=other",
        "method.name=source_only",
        "method.mixing.s2t=false",
        "method.mixing.s2t_weight=0.7",
        "method.pool.enabled=false",
        "method.score_threshold=0.5",
        "method.ema_decay=0.9",
        "training.stage2_steps=7",
        "training.checkpoint_every=7",
        "evaluation.limit=3",
        "data.val.split=test",
    ],
)
def test_stage1_hash__leaves_out_what_stage_1_cannot_see(override: str) -> None:
    preset, groups = BASE
    assert stage1_hash(load_config(preset, [groups, override])) == stage1_hash(
        load_config(preset, [groups])
    )


@pytest.mark.parametrize(
    "override",
    [
        "method.groups=two",
        "method.lab_alignment=false",
        "training.stage1_steps=7",
        "training.batch_size=1",
        "training.precision=bf16",
        "optim.lr=1e-5",
        "model.num_points=64",
        "data.flip=false",
        "data.source.root=elsewhere",
        "data.target.root=elsewhere",
    ],
)
def test_stage1_hash__differs_with_what_stage_1_sees(override: str) -> None:
    preset, groups = BASE
    assert stage1_hash(load_config(preset, [groups, override])) != stage1_hash(
        load_config(preset, [groups])
    )


@pytest.mark.parametrize(
    "override",
    ["method.name=oracle", "training.stage1_steps=0", "training.stage2_steps=0"],
)
def test_stage1_hash__none_where_there_is_nothing_to_share(override: str) -> None:
    assert stage1_hash(load_config("toystreets_demo", [override])) is None


def test_expand__override_of_one_preset() -> None:
    expansion = runs_of("table1", "synthia_cityscapes:data.source.root=/synthia", scale="paper")
    roots = {run.row: run.config.data.source.root for run in expansion.runs if run.row}
    assert roots["synthia_uda4inst"] == "/synthia"
    assert roots["urbansyn_uda4inst"] == "datasets/urbansyn"


@pytest.mark.parametrize(
    ("suite", "override", "words"),
    [
        pytest.param("table5", "method.groups=one", "rows of table5 differ", id="compared"),
        pytest.param("thresholds", "method.score_threshold=1", "thresholds differ", id="swept"),
        pytest.param("table2", "method={}", "must not change method", id="whole-part"),
        pytest.param("table2", "seed=3", "--seeds", id="seed"),
        pytest.param("table2", "run.name=x", "--root", id="name"),
        pytest.param("table2", "training.stage2_from=x", "stage-1 runs", id="start"),
        pytest.param("table2", "nonsense", "key.sub=value", id="no-equals"),
        pytest.param("table2", "other:seed=3", "must name a preset", id="unknown-preset"),
        pytest.param(
            "table2", "toystreets_semantic:seed=3", "a preset of table2", id="of-another-suite"
        ),
        pytest.param("table2", "optim.lrr=3", "Did you mean optim.lr?", id="unknown-key"),
    ],
)
def test_expand__override_refused(suite: str, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        runs_of(suite, override)


def test_expand__override_of_what_the_rows_have_in_common() -> None:
    runs = runs_of("thresholds", "method.groups=one", scale="paper").runs
    assert {run.config.method.groups for run in runs} == {"one"}


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)], ids=["none", "twice", "negative"])
def test_expand__seeds_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="--seeds must be different whole numbers"):
        runs_of("table2", seeds=seeds)


def test_expand__every_scene_set_has_data_and_runs_of_its_own() -> None:
    runs = runs_of("table5", seeds=(0, 1), scenes=(7, 8)).runs
    assert [run.cell for run in runs if run.row == "m3"] == [
        Cell(7, 0),
        Cell(8, 0),
        Cell(7, 1),
        Cell(8, 1),
    ]
    for run in runs:
        data = run.config.data
        tree = f"data/toystreets_scenes/{run.cell.scenes}"
        assert data.source.root == f"{tree}/urbansyn"
        assert data.target.root == data.val.root == f"{tree}/cityscapes"
    by_name = {run.name: run for run in runs}
    here, there = by_name["m1-scenes7-seed0"], by_name["m1-scenes8-seed0"]
    assert here.config_hash != there.config_hash
    assert here.stage1 != there.stage1


@pytest.mark.parametrize(
    ("scale", "scenes", "message"),
    [
        pytest.param("smoke", (3,), "--scenes must be left out at scale smoke", id="one-data-set"),
        pytest.param("toy", (3, 3), "--scenes must be different whole numbers", id="twice"),
    ],
)
def test_cells_of__scenes_refused(scale: str, scenes: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cells_of(find_scale(scale), [0], scenes)


def test_scales__toy_and_smoke_run_on_toystreets() -> None:
    for scale in ("smoke", "toy"):
        for run in runs_of("table5", scale=scale).runs:
            assert "toystreets" in run.config.data.source.root
    with pytest.raises(UserError, match="--scale must be one of smoke, toy, paper"):
        find_scale("huge")


def test_expand__plain_extensions_row_turns_off_what_the_scale_has_on() -> None:
    toy = config_of(runs_of("table5"), "m5-scenes5-seed0").method
    assert isinstance(toy, UDA4InstConfig)
    assert toy.unsure_threshold is not None
    plain = config_of(runs_of("extensions"), "plain-scenes5-seed0").method
    assert isinstance(plain, UDA4InstConfig)
    assert plain.unsure_threshold is None
    assert plain.min_visible_share == 0.0
    assert not plain.adaptive_threshold.enabled
    assert not plain.soft_weights
    assert not plain.confidence.is_used
    assert not plain.pool.draw_by_rarity
    assert toy.pool.area_budget is not None
    assert plain.pool.area_budget is None


def test_expand__some_rows_and_the_stage_1_they_start_from() -> None:
    every = runs_of("table5", seeds=(0, 1))
    some = runs_of("table5", seeds=(0, 1), rows=("m5", "m1", "oracle"))
    assert some.rows == ("m1", "m5", "oracle")
    assert {run.row for run in some.runs} == {"", *some.rows}
    starts = {run.stage1 for run in some.runs if run.stage1}
    assert starts == {run.name for run in some.runs if not run.row}
    hashes = {run.name: run.config_hash for run in every.runs}
    assert all(hashes[run.name] == run.config_hash for run in some.runs)


def test_expand__the_upper_bound_needs_no_stage_1() -> None:
    assert [run.row for run in runs_of("table5", rows=("oracle",)).runs] == ["oracle"]


def test_expand__unknown_row() -> None:
    with pytest.raises(UserError, match=r"--rows must be among m1, .*\(table5\), got 'm7'"):
        runs_of("table5", rows=("m1", "m7"))


def test_expand__rows_that_are_left_out_need_not_go_with_the_settings() -> None:
    own = "method.own_classes=[cone]"
    with pytest.raises(UserError, match=r"method\.groups must hold each of the 9 classes"):
        runs_of("table5", own)
    some = runs_of("table5", own, rows=("m1", "m3", "oracle"))
    assert {run.config.method.own_classes for run in some.runs} == {("cone",)}


def test_expand__says_nothing_of_settings_that_a_scale_has_for_other_methods(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs_of("table5")
    assert not caplog.records
    runs_of("table5", "method.unsure_threshold=0.3")  # somebody's own wish
    said = [record.getMessage() for record in caplog.records]
    assert "method.unsure_threshold=0.3 is no setting of method oracle: unused." in said
    assert len(said) == len(set(said))  # once, however many runs
