from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from workbench.services import Services
from workbench.session import SessionState
from workbench.snapshot_bar import BarView, _followed, _moved, snapshot_tick, snapshot_view
from workbench.ui.views import UNCHANGED, Empty, Framed, properties

DEMO = SessionState(run="demo")


@pytest.fixture
def run(write_run: Callable[..., Path]) -> Path:
    return write_run(steps=4, snapshots=(100, 200, 350))


def step_shown(outcome: object) -> int:
    assert isinstance(outcome, Framed)
    step = outcome.content()
    assert isinstance(step, int)
    return step


def step_of(services: Services, state: SessionState) -> int:
    return step_shown(snapshot_view(services, state, lambda s, i: s.step))


def bar(services: Services, state: SessionState) -> BarView:
    return snapshot_view(services, state, lambda s, i: s.step).head


def slider_of(services: Services, state: SessionState) -> dict[str, object]:
    return properties(bar(services, state).slider)


def nothing(services: Services, state: SessionState) -> str:
    """Return why there is no snapshot."""
    empty = snapshot_view(services, state, lambda s, i: s.step).content()
    assert isinstance(empty, Empty)
    return empty.message


def test_snapshot_view__follows_the_newest(services: Services, run: Path) -> None:
    assert step_of(services, DEMO) == 350
    assert step_of(services, DEMO.on_snapshot(200)) == 200


def test_snapshot_view__nearest_kept_one_for_any_step(services: Services, run: Path) -> None:
    assert step_of(services, DEMO.on_snapshot(1)) == 100
    assert step_of(services, DEMO.on_snapshot(290)) == 350


def test_snapshot_view__item_beyond_the_batch_is_its_last(services: Services, run: Path) -> None:
    assert snapshot_view(services, DEMO.on_item(9), lambda s, i: i).content() == 1


def test_snapshot_view__slider_stands_where_it_was_put(services: Services, run: Path) -> None:
    slider = slider_of(services, DEMO.on_snapshot(200))
    assert [slider[name] for name in ("minimum", "maximum", "step")] == [100, 350, 50]
    assert slider["value"] == 200
    assert slider_of(services, DEMO)["value"] == 350
    between = DEMO.on_snapshot(300)
    assert (step_of(services, between), slider_of(services, between)["value"]) == (350, 300)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        pytest.param((0, 20), 90, id="beyond the last"),
        pytest.param((10, 30), 0, id="before the first"),
        pytest.param((0, 20, 40), 35, id="between two"),
        pytest.param((7,), 90, id="only one"),
    ],
)
def test_snapshot_view__slider_goes_to_the_step_of_another_run(
    services: Services, write_run: Callable[..., Path], steps: tuple[int, ...], left: int
) -> None:
    write_run("other", steps=90, snapshots=steps)
    other = SessionState(run="other")
    for state in (other, other.on_snapshot(left)):  # the latter: the group was changed, not the run
        slider = slider_of(services, state)
        assert slider["value"] == step_of(services, state)
        assert slider["minimum"] == (min(steps) if len(steps) > 1 else 6)
        assert slider["maximum"] == max(steps)


def test_snapshot_view__says_what_is_on_screen(services: Services, run: Path) -> None:
    facts = bar(services, DEMO).facts
    for word in ("demo", "350 (3 of 3 kept)", "uda4inst", "0.9", "toy_0004", "toyville_000004"):
        assert word in facts


def test_snapshot_view__damaged_one_leaves_the_controls(services: Services, run: Path) -> None:
    (run / "snapshots" / "00000350" / "arrays.npz").write_bytes(b"no")
    outcome = snapshot_view(services, DEMO, lambda s, i: s.step)
    assert outcome.head.row.visible
    with pytest.raises(ValueError, match="snapshot 350 of 'demo' must be readable"):
        outcome.content()
    assert step_of(services, DEMO.on_snapshot(200)) == 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "The first comes after step 100"),
        ({"state": "finished"}, "is finished and kept none"),
    ],
    ids=["running", "finished"],
)
def test_snapshot_view__says_why_there_is_none(
    services: Services, write_run: Callable[..., Path], options: dict[str, str], words: str
) -> None:
    write_run(steps=2, **options)
    assert words in nothing(services, DEMO)


def test_snapshot_view__no_run_is_a_friendly_start(services: Services) -> None:
    assert "No run yet" in nothing(services, SessionState())
    assert not bar(services, SessionState()).row.visible


def test_snapshot_view__a_run_that_was_deleted_says_so(services: Services, run: Path) -> None:
    shutil.rmtree(run)
    assert f"The run {run.name} is gone" in nothing(services, DEMO)


def test_snapshot_tick__redraws_for_a_newer_one_only(
    services: Services, run: Path, factories: ModuleType
) -> None:
    def tick(state: SessionState, at: float) -> object:
        return snapshot_tick(services, state, at, lambda s, i: s.step)

    assert tick(DEMO, 350) is UNCHANGED
    assert tick(DEMO.on_snapshot(100), 100) is UNCHANGED
    factories.write_snapshot(run, 400)
    assert step_shown(tick(DEMO, 350)) == 400
    assert tick(DEMO.on_snapshot(100), 100) is UNCHANGED


def test_moved__to_the_neighbours_and_no_further(services: Services, run: Path) -> None:
    state = _moved(services, DEMO, -1)
    assert state.snapshot == 200
    state = _moved(services, _moved(services, state, -1), -1)
    assert state.snapshot == 100
    assert _moved(services, SessionState(), 1).snapshot is None


def test_followed__off_stays_where_it_is(services: Services, run: Path) -> None:
    assert _followed(services, DEMO, follow=False).snapshot == 350
    assert _followed(services, DEMO.on_snapshot(100), follow=True).snapshot is None


PEOPLE, VEHICLES = "person-rider-motorcycle-bicycle", "car-truck-bus-train"


@pytest.fixture
def grouped(write_grouped_run: Callable[..., Path]) -> Path:
    return write_grouped_run(modules=({"steps": 4, "snapshots": (100, 200)}, None))


def test_snapshot_view__of_the_chosen_category_group(
    services: Services, grouped: Path, factories: ModuleType
) -> None:
    factories.write_snapshot(grouped / "modules" / VEHICLES, 300)
    assert step_of(services, DEMO) == 200
    assert step_of(services, DEMO.on_group(VEHICLES)) == 300
    assert step_of(services, DEMO.on_group("no-such")) == 200
    facts = bar(services, DEMO.on_group(VEHICLES)).facts
    assert "car, truck, bus, train" in facts
    assert "modules" not in facts
    assert _moved(services, DEMO, -1).snapshot == 100
    assert _moved(services, DEMO, -1).run == "demo"


def test_snapshot_view__group_that_waits_for_its_turn(services: Services, grouped: Path) -> None:
    message = nothing(services, DEMO.on_group(VEHICLES))
    assert "No snapshot of demo (car, truck, bus, train) yet" in message
    assert "waits for its turn" in message


def test_snapshot_tick__follows_the_chosen_group(
    services: Services, grouped: Path, factories: ModuleType
) -> None:
    state = DEMO.on_group(PEOPLE)
    assert snapshot_tick(services, state, 200, lambda s, i: s.step) is UNCHANGED
    factories.write_snapshot(grouped / "modules" / PEOPLE, 300)
    assert step_shown(snapshot_tick(services, state, 200, lambda s, i: s.step)) == 300
