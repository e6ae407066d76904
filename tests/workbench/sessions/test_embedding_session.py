"""Maps of a run's networks: every image has a point, and the gap is that of the features."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import inspection
import numpy as np
import pytest
import torch
from mini_network import TINY_MINI

inspection.require_database()

from uda4inst.data.files.images import read_picture
from uda4inst.errors import UserError
from uda4inst.evaluation.embeddings import domain_gap, embed
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training.config import load_config
from uda4inst.training.groups import category_groups
from uda4inst.training.validation import load_network
from workbench.sessions import building, embedding_session
from workbench.sessions.embedding_session import find_embedders, open_embedding_session
from workbench.sessions.library import fo

pytestmark = pytest.mark.inspection

ShortRun = Callable[..., list[str]]
Caplog = pytest.LogCaptureFixture


HAS_UMAP = find_spec("umap") is not None


@pytest.fixture(autouse=True)
def _mini(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without UMAP, which a machine may have or not: its own test has it."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
    monkeypatch.setattr(embedding_session, "find_spec", lambda name: None)


def forbidden(*values: object, **named: object) -> None:
    raise AssertionError("nothing is to be computed again")


def test_session__every_image_has_a_point_on_the_map_of_every_network(grouped_run: RunDir) -> None:
    session = open_embedding_session(grouped_run, limit=4)
    dataset, maps = session.dataset, session.summary["maps"]

    assert set(dataset.list_brain_runs()) == set(maps)
    assert [facts["title"] for facts in maps.values()] == [
        f"{group} student {step}"
        for group in ("person-rider-motorcycle-bicycle", "car-truck-bus-train")
        for step in (1, 3)
    ]
    domains = dataset.values("domain")
    assert {name: domains.count(name) for name in set(domains)} == {
        "source": 4,
        "target": 4,
        **{view: sum(1 for _ in mixed(grouped_run, view)) for view in ("S2T", "T2S")},
    }
    for key in maps:
        points = dataset.load_brain_results(key).points
        assert points.shape == (len(dataset), 2)
        assert len(np.unique(points, axis=0)) > len(dataset) / 2


def mixed(run: RunDir, view: str) -> list[np.ndarray]:
    """Return the mixed images of all snapshots."""
    return [
        picture.image
        for module in sorted(run.modules.iterdir())
        for place in sorted((module / "snapshots").iterdir())
        for item in read_snapshot(RunDir(module), int(place.name)).items
        if (picture := item.s2t if view == "S2T" else item.t2s) is not None
    ]


@pytest.mark.parametrize("view", ["S2T", "T2S"])
def test_session__mixed_images_are_the_snapshots_pixels(grouped_run: RunDir, view: str) -> None:
    dataset = open_embedding_session(grouped_run, limit=4).dataset
    paths = dataset.match(fo.ViewField("domain") == view).values("filepath")
    shown = {read_picture(Path(path)).tobytes() for path in paths}
    assert shown == {image.tobytes() for image in mixed(grouped_run, view)}
    assert len(shown) > 1


def test_session__the_gap_is_that_of_the_networks_features(grouped_run: RunDir) -> None:
    session = open_embedding_session(grouped_run, limit=4)
    key, facts = next(iter(session.summary["maps"].items()))
    part = RunDir(grouped_run.modules / "person-rider-motorcycle-bicycle")
    config, checkpoint = load_config(part.config), open_checkpoint(part.checkpoints, step=1)
    network = load_network(config, checkpoint, "student", torch.device("cpu"))
    assert key == "student_1_person_rider_motorcycle_bicycle"

    def of(domain: str) -> np.ndarray:
        view = session.dataset.match(fo.ViewField("domain") == domain)
        pictures = (read_picture(Path(path)) for path in view.values("filepath"))
        short = config.evaluation.short_side
        return np.stack(list(embed(network, pictures, device="cpu", short_side=short)))

    assert facts["gap"] == pytest.approx(domain_gap(of("source"), of("target")), abs=1e-4)
    assert facts["gap"] > facts["gap_within_target"]


def test_session__opened_again_computes_nothing(
    grouped_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_embedding_session(grouped_run, limit=4)
    for name in ("embed", "read_snapshot"):
        monkeypatch.setattr(embedding_session, name, forbidden)
    again = open_embedding_session(grouped_run, limit=4)
    assert again.summary == {**first.summary, "built": False}


def test_session__killed_halfway_is_mended(
    grouped_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_embedding_session(grouped_run, limit=4).summary["maps"]
    with monkeypatch.context() as patch:
        patch.setattr(embedding_session, "_gaps", forbidden)
        with pytest.raises(AssertionError):
            open_embedding_session(grouped_run, limit=4, fresh=True)
    mended = open_embedding_session(grouped_run, limit=4)
    for key, facts in mended.summary["maps"].items():
        assert facts["gap"] == whole[key]["gap"]
        assert len(mended.dataset.load_brain_results(key).points) == len(mended.dataset)


def test_find__before_is_what_stage_2_started_from_in_another_run(
    grouped_run: RunDir, tmp_path: Path, short_run: ShortRun, toy: Path, caplog: Caplog
) -> None:
    settings = (
        "method.groups=two",
        f"training.stage2_from={grouped_run.path}",
        "training.stage2_steps=1",
        "evaluation.stage1=false",
    )
    category_groups.train(
        load_config("toystreets_smoke", short_run(tmp_path, "second", *settings, data=toy))
    )
    second = RunDir(tmp_path / "second")
    found = find_embedders(second)
    assert [one.when for one in found] == ["start", "1", "start", "1"]
    start = open_checkpoint(grouped_run.module(found[0].group or "").checkpoints)
    assert found[0].checkpoint.digest("student") == start.digest("student")
    assert found[0].checkpoint.digest("student") != found[1].checkpoint.digest("student")

    for module in second.modules.iterdir():
        text = (module / "config.yaml").read_text()
        (module / "config.yaml").write_text(text.replace(str(grouped_run.path), "/gone"))
    assert [one.when for one in find_embedders(second)] == ["1", "1"]
    assert "is left out: training.stage2_from must be" in caplog.text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"steps": [7]}, r"steps: 1, 3\), got step 7", id="step"),
        pytest.param({"steps": [1], "network": "teacher"}, "got teacher", id="network"),
        pytest.param({"limit": 0}, "limit must be at least 1", id="limit"),
    ],
)
def test_session__mistake_is_one_message(
    grouped_run: RunDir, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        open_embedding_session(grouped_run, **asked)  # pyright: ignore[reportArgumentType]


def test_session__one_adds_maps_at_a_time(
    grouped_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_embedding_session(grouped_run, limit=4)
    monkeypatch.setattr(embedding_session, "open_data_session", lambda *_, **__: session)
    with (
        building.sole_builder(session.dataset.name),
        pytest.raises(UserError, match="must be built by one process"),
    ):
        open_embedding_session(grouped_run, limit=4)
    assert open_embedding_session(grouped_run, limit=4).summary["maps"] == session.summary["maps"]


@pytest.mark.skipif(not HAS_UMAP, reason="the extra `embeddings` is not installed")
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
def test_session__umap_where_it_is_installed_prints_nothing(
    grouped_run: RunDir, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedding_session, "find_spec", find_spec)
    session = open_embedding_session(grouped_run, limit=8, steps=[3])
    assert {facts["method"] for facts in session.summary["maps"].values()} == {"umap"}
    assert capfd.readouterr().out == ""  # the summary alone goes there


def test_session__umap_must_be_installed(grouped_run: RunDir) -> None:
    with pytest.raises(UserError, match=r"pip install -e '.\[embeddings\]'"):
        open_embedding_session(grouped_run, method="umap")
