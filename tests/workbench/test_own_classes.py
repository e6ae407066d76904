"""A run with a class beside the eight on the pages: its name and colour wherever it appears."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mini_network import TINY_MINI
from own_classes import OWN, THINGS, own_overrides, write_own_data

from uda4inst.colors import CLASS_COLORS
from uda4inst.data.reports.statistics import collect_statistics
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training import launch
from uda4inst.training.config import load_config
from workbench.notebook import snapshots as stepped
from workbench.pages.data import markup
from workbench.pages.data import view as data_view
from workbench.pages.error_maps import choice
from workbench.pages.mixing import page as mixing
from workbench.pages.pool import page as pool
from workbench.pages.train import view as train
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.class_shares import Shares
from workbench.stores.evaluations import Evaluated
from workbench.ui.palette import css

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("tiny_is_mini")]

COLOR = css(CLASS_COLORS[8])


@pytest.fixture(scope="module")
def trained(
    toy: Path, short_run: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> RunDir:
    data = write_own_data(toy, tmp_path_factory.mktemp("own") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        overrides = short_run(tmp_path_factory.mktemp("runs"), "own", *own_overrides(data))
        config = load_config("toystreets_smoke", overrides)
        assert launch.train(config).state == "finished"
    return RunDir(Path(config.run.root) / config.run.name)


@pytest.fixture
def state(services: Services, trained: RunDir) -> SessionState:
    shutil.copytree(trained.path, services.runs.root / "own")
    return replace(SessionState(), run="own")


def test_runs__know_the_class(services: Services, state: SessionState) -> None:
    assert state.run is not None
    assert services.runs.things("own") == THINGS
    assert services.runs.task("own").class_names == THINGS.names


def test_runs__a_configuration_that_makes_no_sense_has_the_eight(
    services: Services, write_run: Callable[..., Path]
) -> None:
    config = write_run("odd") / "config.yaml"
    config.write_text(config.read_text().replace("method:", "method:\n  own_classes: [car]", 1))
    assert len(services.runs.things("odd")) == 8


def test_train_page__draws_its_pseudo_labels(services: Services, state: SessionState) -> None:
    drawn = str(train.view(services, state).content())
    curves = drawn.partition("curves=")[2].partition("log=")[0]
    assert OWN in curves
    assert COLOR in curves


def test_mixing_page__names_it(trained: RunDir) -> None:
    snapshot = read_snapshot(trained, 16)
    shown = [mixing.draw(snapshot, place) for place in range(len(snapshot.items))]
    assert any(OWN in view.classes and COLOR in view.classes for view in shown)
    assert any(OWN in view.source.text for view in shown)


def test_pool_page__names_it(trained: RunDir) -> None:
    snapshot = read_snapshot(trained, 16)
    cards = str(pool.draw(snapshot, size=10))
    assert OWN in cards
    assert COLOR in cards


def test_error_maps_page__offers_it_and_counts_it(services: Services, state: SessionState) -> None:
    assert choice.class_names(services, state) == THINGS.names
    assert choice.looked_at(services, state.on_errors(class_name=OWN)).thing == 8
    which = Evaluated("own", 20, "student")
    index = services.evaluations.index(which, 0.0)
    assert index.counts.shape[1:] == (10, 10)
    assert any(e.wrong_pixels + e.right_pixels for e in index.errors(8))


def test_data_page__bars_and_legend_have_it(services: Services, state: SessionState) -> None:
    state = replace(state, page="data")
    shown = [
        str(data_view.data_view(services, state.on_data(source_position=place)).content())
        for place in range(8)
    ]
    assert any(f"1 {OWN}" in one and COLOR in one for one in shown)
    tree = data_view.look_at(services, state, "source").tree
    assert tree is not None
    statistics = collect_statistics(tree, workers=0)
    bars = markup.class_bars({"source": Shares("done", 8, 8, statistics), "target": None})
    assert OWN in bars
    assert COLOR in bars


def test_notebook__steps_through_it(trained: RunDir) -> None:
    held = stepped.pool(trained)
    held.controls["step"].value = 16
    assert OWN in held.picture.value
