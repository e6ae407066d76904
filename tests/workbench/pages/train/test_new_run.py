from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.training.schema import Config
from workbench.pages.train import new_run
from workbench.pages.train.run_form import ESSENTIAL
from workbench.services import Services
from workbench.ui.forms import shown

PRESET = "toystreets_smoke"


@pytest.fixture
def started(services: Services, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What would have been started."""
    calls: list[tuple[str, str]] = []

    def start(name: str, text: str, *, content: str) -> str:
        assert content
        calls.append((name, text))
        return name

    monkeypatch.setattr(services.jobs, "start", start)
    return calls


def values_with(services: Services, **changes: object) -> dict[str, object]:
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    values = new_run.fresh_values(services, PRESET)
    assert set(changed) <= set(values)
    return values | changed


def test_presets__offer_every_setting_but_the_runs_folder(services: Services) -> None:
    keys = [field.key for field in services.presets.fields]
    assert set(ESSENTIAL) <= set(keys)
    assert "run.root" not in keys
    assert all(field.description for field in services.presets.fields)
    assert PRESET in services.presets.names


def test_preview__is_the_command_for_a_terminal(services: Services, runs_root: Path) -> None:
    html = new_run.preview(services, PRESET, values_with(services, method__score_threshold=0.7))
    assert f"uda4inst train {PRESET} run.root={runs_root}" in html
    assert "method.score_threshold=0.7" in html
    assert "wb-warn" not in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method__score_threshold": 2}, "method.score_threshold must be less than or equal to 1"),
        ({"training__batch_size": 1.5}, "training.batch_size must"),
        ({"seed": None}, "seed must have a value"),
        ({"run__name": "a/b"}, "run.name must be letters"),
        ({"data__crop": "[1, "}, "data.crop must be a list"),
    ],
    ids=["range", "type", "missing", "slash", "yaml"],
)
def test_preview_and_start__name_what_is_wrong(
    services: Services,
    started: list[tuple[str, str]],
    change: dict[str, object],
    message: str,
) -> None:
    values = values_with(services, **change)
    assert message in new_run.preview(services, PRESET, values)
    with pytest.raises(UserError, match=message):
        new_run.start(services, PRESET, values)
    assert started == []


def test_preset__is_a_name_and_no_file(services: Services, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: hunter2\n")
    for preset in (str(secret), "../../etc/passwd", ""):
        told = new_run.preview(services, preset, values_with(services))
        assert "preset must be one of" in told
        assert "hunter2" not in told
        with pytest.raises(UserError, match="preset must be one of"):
            new_run.start(services, preset, values_with(services))
        with pytest.raises(UserError, match="preset must be one of"):
            new_run.fresh_values(services, preset)


def test_start__image_list_outside_the_folders_of_the_app_is_not_opened(
    services: Services, started: list[tuple[str, str]]
) -> None:
    values = values_with(services, data__source__only="/etc/passwd")
    assert "data.source.only must lie in" in new_run.preview(services, PRESET, values)
    with pytest.raises(UserError, match=r"data\.source\.only must lie in one of the app's folders"):
        new_run.start(services, PRESET, values)
    assert started == []


def test_is_filled__only_by_what_filled_it() -> None:
    assert new_run.is_filled(new_run.head("a"), "a")
    for heading in (new_run.head("b"), new_run.head(""), "", None):
        assert not new_run.is_filled(heading, "a")


def test_start__hands_over_the_whole_configuration(
    services: Services, started: list[tuple[str, str]], runs_root: Path, toy_tree: Path
) -> None:
    name = new_run.start(services, PRESET, values_with(services, seed=7))
    ((given, text),) = started
    config = yaml.safe_load(text)
    assert name == given == PRESET
    assert (config["seed"], config["run"]["root"]) == (7, str(runs_root))
    assert config["data"]["source"]["root"] == str(toy_tree / "urbansyn")
    assert config["method"]["mixing"]["t2s"] is True


def test_start__missing_data_say_how_to_make_them(
    services: Services, started: list[tuple[str, str]], tmp_path: Path
) -> None:
    values = values_with(services, data__source__root=str(tmp_path / "gone"))
    assert "gone is not there." in new_run.preview(services, PRESET, values)
    with pytest.raises(UserError, match="data must be there before training"):
        new_run.start(services, PRESET, values)
    assert started == []


def test_free_name__next_number(services: Services, write_run: Callable[..., Path]) -> None:
    assert new_run.free_name(services, "demo") == "demo"
    for name in ("demo", "demo_2"):
        write_run(name, steps=1)
    assert new_run.free_name(services, "demo") == "demo_3"
    assert new_run.free_name(services, "demo_2") == "demo_3"


@pytest.mark.parametrize(
    ("text", "count"),
    [("two", 2), ("one", 1), ("table4_3", 2), (f"[[person], [{', '.join(THING_NAMES[1:])}]]", 2)],
)
def test_start__category_groups_as_text(
    services: Services, started: list[tuple[str, str]], text: str, count: int
) -> None:
    values = values_with(services, method__groups=text)
    assert "wb-problem" not in new_run.preview(services, PRESET, values)
    new_run.start(services, PRESET, values)
    config = Config.model_validate(yaml.safe_load(started[0][1]))
    assert len(config.category_groups) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("three", "must be one of one, table4_2, table4_3, table4_4, two, or lists"),
        ("[[person], [car]]", "each of the eight classes in exactly one group"),
        ("[person, car]", "must hold lists of class names"),
        ("[[person], [tram]]", "tram"),
        ("[[person", "method.groups must be"),
        ("", "method.groups"),
        ("7", "method.groups"),
    ],
    ids=["name", "missing", "flat", "class", "cut", "empty", "number"],
)
def test_preview__wrong_category_groups_are_told_once(
    services: Services, text: str, message: str
) -> None:
    html = new_run.preview(services, PRESET, values_with(services, method__groups=text))
    assert message in html
    assert html.count("method.groups must") <= 1
    assert html.count("wb-problem") == 1


def test_presets__describe_the_groups_and_leave_classes_to_them(services: Services) -> None:
    fields = {field.key: field for field in services.presets.fields}
    assert "method.classes" not in fields
    assert fields["method.groups"].kind == "yaml"
    for word in ("two", "one", "table4_2", "lists of class names"):
        assert word in fields["method.groups"].description


@pytest.mark.parametrize(
    ("preset", "there"), [("toystreets_smoke", True), ("toystreets_semantic_smoke", False)]
)
def test_presets__settings_of_instances_are_hidden_for_semantic_maps(
    services: Services, preset: str, there: bool
) -> None:
    values = new_run.fresh_values(services, preset)
    seen = {field.key for field in shown(services.presets.fields, values)}
    for key in ("model.num_points", "method.groups"):
        assert (key in seen) == there


def test_preview__warns_of_weights_of_another_network(services: Services) -> None:
    html = new_run.preview(services, PRESET, values_with(services, model__preset="swin_t"))
    assert "model.weights=toystreets is the start of presets tiny, mit_tiny" in html
