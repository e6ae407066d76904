from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from uda4inst.errors import UserError
from workbench.services import Services
from workbench.session import SessionState, TreeChoice
from workbench.stores.data_sets import DataSets, labels_wanted


@pytest.fixture
def of_run(write_run: Callable[..., Path]) -> SessionState:
    """A session on a run that ignores small objects of its source."""
    path = write_run(steps=1) / "config.yaml"
    config = yaml.safe_load(path.read_text())
    source = {"format": "urbansyn", "root": "syn", "split": "train", "min_area": 20}
    target = {"format": "cityscapes", "root": "city", "split": "train", "ego_vehicle": "none"}
    config["data"] |= {"source": source, "target": target}
    path.write_text(yaml.safe_dump(config))
    return SessionState(run="demo")


def test_chosen__toystreets_without_a_run(services: Services, toy_tree: Path) -> None:
    chosen = services.data_sets.chosen(SessionState(), "target")
    assert chosen == TreeChoice("cityscapes", str(toy_tree / "cityscapes"), "train")


def test_chosen__nothing_without_toystreets(services: Services, tmp_path: Path) -> None:
    alone = DataSets(services.runs, data_root=tmp_path / "none")
    assert alone.chosen(SessionState(), "source").root == ""
    assert alone.ref(SessionState(), "source") is None


def test_ref__of_the_run_with_its_options(services: Services, of_run: SessionState) -> None:
    ref = services.data_sets.ref(of_run, "source")
    assert ref is not None
    assert (ref.format, ref.root, ref.min_area) == ("urbansyn", "syn", 20)
    target = services.data_sets.ref(of_run, "target")
    assert target is not None
    assert target.root == "city"


def test_ref__options_hold_for_the_same_format_alone(
    services: Services, of_run: SessionState
) -> None:
    areas = []
    for format_name in ("urbansyn", "cityscapes"):
        state = of_run.on_data(source=TreeChoice(format_name, "other", "train"))
        ref = services.data_sets.ref(state, "source")
        assert ref is not None
        areas.append(ref.min_area)
    assert areas == [20, 0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (TreeChoice("vistas", "a", "train"), "format must be one of"),
        (TreeChoice("urbansyn", "a", ""), "data.source.split"),
    ],
    ids=["format", "split"],
)
def test_ref__wrong_values_are_named(services: Services, choice: TreeChoice, message: str) -> None:
    with pytest.raises(UserError, match=message):
        services.data_sets.ref(SessionState().on_data(source=choice), "source")


def test_open__once_until_time_has_passed(services: Services, toy_tree: Path) -> None:
    now = [0.0]
    data = DataSets(services.runs, data_root=toy_tree, clock=lambda: now[0])
    ref = data.ref(SessionState(), "target")
    assert ref is not None
    tree = data.open(ref, "target", labels=False)
    assert data.open(ref, "target", labels=False) is tree
    assert tree.records[0].labels == ()
    assert data.open(ref, "target", labels=True).records[0].labels
    now[0] = 100.0
    assert data.open(ref, "target", labels=False) is not tree


def test_labels_wanted__of_the_target_only_when_asked_for() -> None:
    state = SessionState()
    assert labels_wanted(state, "source")
    assert not labels_wanted(state, "target")
    assert labels_wanted(state.on_data(target_labels=True), "target")
