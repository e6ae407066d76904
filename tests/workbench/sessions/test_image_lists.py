"""Tags and selections come out as image lists, and training takes them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import inspection
import pytest
import yaml

inspection.require_database()

from uda4inst import cli
from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import UrbanSyn
from uda4inst.errors import UserError
from uda4inst.formats.image_list import read_image_list
from workbench.sessions.data_session import open_data_session
from workbench.sessions.extensions import PLUGIN, offer_extensions
from workbench.sessions.image_lists import export_tag
from workbench.sessions.library import fo
from workbench.sessions.request import DataRequest, Side

pytestmark = pytest.mark.inspection


@pytest.fixture(scope="module")
def both(toy: Path) -> fo.Dataset:
    """A session of both domains; two images of the source and one of the target are tagged."""
    refs = {
        "source": {"format": "urbansyn", "root": str(toy / "urbansyn")},
        "target": {"format": "cityscapes", "root": str(toy / "cityscapes")},
    }
    source, target = (DatasetRef.model_validate(values) for values in refs.values())
    sides = (Side("source", source), Side("target", target))
    made = open_data_session(DataRequest("both", sides)).dataset
    first, second = made.match(fo.ViewField("domain") == "source").limit(2)
    first.tags.append("odd")
    first.save()
    second.ground_truth.detections[0].tags.append("odd")
    second.save()
    other = made.match(fo.ViewField("domain") == "target").first()
    other.tags += ["odd", "night"]
    other.save()
    return made


def names_of(dataset: fo.Dataset, domain: str, count: int) -> tuple[str, ...]:
    own = dataset.match(fo.ViewField("domain") == domain)
    return tuple(sorted(own.limit(count).values("image_name")))


def test_export__tags_of_images_and_of_labels_count(both: fo.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "odd.txt"
    assert export_tag(both.name, "odd", file, domain="source") == 2
    assert read_image_list(file).names == names_of(both, "source", 2)
    assert "tagged 'odd'" in file.read_text()


def test_export__domain_need_not_be_said_of_one(both: fo.Dataset, tmp_path: Path) -> None:
    assert export_tag(both.name, "night", tmp_path / "night.txt") == 1
    assert read_image_list(tmp_path / "night.txt").names == names_of(both, "target", 1)


def test_export__bad_input_is_one_message(both: fo.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    with pytest.raises(UserError, match=f"Did you mean {both.name}?"):
        export_tag(both.name + "x", "odd", file)
    with pytest.raises(UserError, match=r"TAG must be .* \(night, odd\), got 'od'\. Did you mean"):
        export_tag(both.name, "od", file)
    with pytest.raises(UserError, match=r"got 2 of the source, 1 of the target .* --domain source"):
        export_tag(both.name, "odd", file)
    with pytest.raises(UserError, match="must name an image, got none of the source"):
        export_tag(both.name, "night", file, domain="source")
    stranger = fo.Dataset()
    stranger.add_sample(fo.Sample("nothing.png", tags=["odd"]))
    with pytest.raises(UserError, match="must be a session of this project"):
        export_tag(stranger.name, "odd", file)
    with pytest.raises(
        UserError, match=r"image list must be written, got .*See that its folder is there"
    ):
        export_tag(both.name, "night", tmp_path / "nowhere" / "list.txt")
    assert not file.exists()


def test_export_tags__a_training_step_takes_the_list(
    both: fo.Dataset,
    tmp_path: Path,
    short_run: Callable[..., list[str]],
    tiny_is_mini: None,
    toy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del tiny_is_mini

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["uda4inst", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code

    file = tmp_path / "odd.txt"
    run("inspect", "export-tags", both.name, "odd", str(file), "--domain", "source")
    assert capsys.readouterr().out == f"2 images: {file}\n"
    steps = ("training.stage1_steps=1", "training.stage2_steps=1", "evaluation.stage1=false")
    overrides = short_run(tmp_path, "listed", f"data.source.only={file}", *steps)
    run("train", "toystreets_smoke", *overrides)
    config = yaml.safe_load((tmp_path / "listed" / "config.yaml").read_text())
    assert config["data"]["source"]["only_hash"] == read_image_list(file).hash
    tree = UrbanSyn(
        toy / "urbansyn", options=DatasetRef.model_validate(config["data"]["source"]).options()
    )
    assert tuple(record.sample_id for record in tree.records) == names_of(both, "source", 2)


# The plugin -------------------------------------------------------------------------------------


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The plugin as FiftyOne loads it, its lists below the test's folder."""
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "fiftyone" / "extensions"))
    spec = importlib.util.spec_from_file_location("plugin_of_test", PLUGIN / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(
    dataset: fo.Dataset,
    view: Any = None,
    selected: Any = (),
    *,
    asked: Mapping[str, Any] | None = None,
    **params: str,
) -> Any:
    """Return what FiftyOne hands to an operator.

    Args:
        dataset: of the session.
        view: on screen; None for all images.
        selected: ids.
        asked: what else the page sends: view_name, filters, extended_selection.
        params: the form's.
    """
    stages = [] if view is None else view._serialize()
    request = {
        "dataset_name": dataset.name,
        "view": stages,
        "selected": list(selected),
        "params": params,
    }
    return fo.operators.ExecutionContext(request | dict(asked or {}))


def test_plugin__writes_selected_tagged_and_shown(
    plugin: ModuleType, both: fo.Dataset, tmp_path: Path
) -> None:
    export = plugin.ExportImageList()
    lists = tmp_path / "fiftyone" / "lists"
    source = both.match(fo.ViewField("domain") == "source")
    selected = source.limit(2).values("id")
    for name, ctx, count in (
        ("picked", context(both, selected=selected, which="selected", name="picked"), 2),
        ("odd", context(both, which="tag", tag="odd", domain="source", name="odd"), 2),
        ("shown", context(both, source, which="view", name="shown"), 8),
    ):
        answer = export.execute(ctx)["written"]
        assert answer == f"{count} images: {lists / name}.txt"
        assert read_image_list(lists / f"{name}.txt").names == names_of(both, "source", count)


def test_plugin__shown_is_what_the_sidebar_and_a_lasso_leave(
    plugin: ModuleType, both: fo.Dataset, tmp_path: Path
) -> None:
    source = both.match(fo.ViewField("domain") == "source")
    both.save_view("of the source", source, overwrite=True)
    first, second = names_of(both, "source", 2)
    filters = {"image_name": {"values": [first], "exclude": False, "isMatching": True}}
    ids = [*source.match(fo.ViewField("image_name") == second).values("id")]
    saved = {"view_name": "of the source", "view": []}
    for name, asked, left in (
        ("filtered", {"filters": filters}, [first]),
        ("saved", saved | {"filters": filters}, [first]),
        ("lasso", saved | {"extended_selection": {"selection": ids, "scope": "a"}}, [second]),
    ):
        ctx = context(both, source, asked=asked, which="view", name=name)
        form = plugin.ExportImageList().resolve_input(ctx).type
        assert form.properties["which"].view.choices[0].label == "Shown (1)"
        plugin.ExportImageList().execute(ctx)
        file = tmp_path / "fiftyone" / "lists" / f"{name}.txt"
        assert list(read_image_list(file).names) == left
    both.delete_saved_view("of the source")


def test_plugin__asks_for_a_domain_where_there_are_two(
    plugin: ModuleType, both: fo.Dataset
) -> None:
    source = both.match(fo.ViewField("domain") == "source")

    def asked(ctx: Any) -> set[str]:
        return set(plugin.ExportImageList().resolve_input(ctx).type.properties)

    picked = source.limit(2).values("id")
    assert "domain" in asked(context(both))
    assert "domain" in asked(context(both, which="tag"))
    assert "domain" not in asked(context(both, source))
    assert "domain" not in asked(context(both, selected=picked))
    assert "domain" in asked(context(both, selected=picked, which="view"))


def test_plugin__objects_stand_for_their_images(
    plugin: ModuleType, both: fo.Dataset, tmp_path: Path
) -> None:
    source = both.match(fo.ViewField("domain") == "source")
    patches = source.limit(2).to_patches("ground_truth")
    shown = context(both, patches, which="view", name="shown")
    picked = context(both, patches, [patches.first().id], which="selected", name="picked")
    for ctx, count in ((shown, 2), (picked, 1)):
        plugin.ExportImageList().execute(ctx)
        file = tmp_path / "fiftyone" / "lists" / f"{ctx.params['name']}.txt"
        assert read_image_list(file).names == names_of(both, "source", count)


def test_plugin__says_what_is_wrong_and_writes_nothing(
    plugin: ModuleType, both: fo.Dataset, tmp_path: Path
) -> None:
    export = plugin.ExportImageList()
    answer = export.execute(context(both, which="view", name="../../up"))["written"]
    assert answer.startswith("Nothing: name must be letters")
    assert "of one domain" in export.execute(context(both, which="view", name="all"))["written"]
    assert not list(tmp_path.rglob("*.txt"))


def test_plugin__asks_for_what_there_is(plugin: ModuleType, both: fo.Dataset) -> None:
    export = plugin.ExportImageList()
    form = export.resolve_input(
        context(both, selected=both.limit(1).values("id"), which="tag")
    ).type
    assert list(form.properties) == ["which", "tag", "domain", "name"]
    assert export.resolve_placement(None).place.value == "samples-grid-secondary-actions"
    assert export.resolve_output(None).type.properties.keys() == {"written"}


def test_extensions__stand_beside_the_users(
    both: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del both
    theirs = tmp_path / "theirs" / "mine"
    theirs.mkdir(parents=True)
    (theirs / "fiftyone.yml").write_text("name: someone/mine\n")
    monkeypatch.setattr(fo.config, "plugins_dir", str(theirs.parent))
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(theirs.parent))
    for _ in range(2):
        found = offer_extensions(tmp_path / "fiftyone", theirs.parent)
        assert fo.config.plugins_dir == str(found)
        names = {plugin.name for plugin in fo.plugins.list_plugins()}
        assert names == {"@uda4inst/workbench", "someone/mine"}
    assert "@uda4inst/workbench/export_image_list" in {
        operator.uri for operator in fo.operators.list_operators(builtin=False)
    }
    assert sorted(path.name for path in theirs.parent.iterdir()) == ["mine"]
