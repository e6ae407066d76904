from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import factories as factories_module
import pytest
import suite_factory as suite_factory_module

from uda4inst.toystreets.write import write_toystreets
from workbench.services import Services, make_services
from workbench.stores import background


@pytest.fixture(scope="session")
def factories() -> ModuleType:
    return factories_module


@pytest.fixture(scope="session")
def suite_factory() -> ModuleType:
    return suite_factory_module


@pytest.fixture(scope="session")
def toy_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ToyStreets folder with four validation images."""
    out = tmp_path_factory.mktemp("data") / "toystreets"
    write_toystreets(out, train=4, val=4, workers=0)
    return out


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait for what is made in the background, however slow the machine."""
    monkeypatch.setattr(background, "_PATIENCE", 60.0)


@pytest.fixture
def runs_root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def services(runs_root: Path, toy_tree: Path) -> Services:
    return make_services(runs_root, data_root=toy_tree, suites_root=runs_root.with_name("suites"))


@pytest.fixture
def write_run(runs_root: Path, factories: Any) -> Callable[..., Path]:
    """Write a run into the services' folder; see `factories.write_run`."""
    return lambda name="demo", **options: factories.write_run(runs_root, name, **options)


@pytest.fixture
def write_grouped_run(runs_root: Path, factories: Any) -> Callable[..., Path]:
    """Write a run of two category groups; see `factories.write_grouped_run`."""
    return lambda name="demo", **options: factories.write_grouped_run(runs_root, name, **options)


def _in_loop(make: Callable[[], Any]) -> Any:
    """Return what `make` returns, made while an event loop runs.

    Gradio opens a loop for every Blocks made without one, and never closes it.
    """

    async def run() -> Any:
        return make()

    return asyncio.run(run())


@pytest.fixture(scope="session")
def in_loop() -> Callable[[Callable[[], Any]], Any]:
    return _in_loop


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, toy_tree: Path) -> Any:
    from workbench.app import build_app

    runs = tmp_path_factory.mktemp("app") / "runs"
    return _in_loop(lambda: build_app(make_services(runs, data_root=toy_tree)))
