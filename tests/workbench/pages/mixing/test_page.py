from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from uda4inst.colors import ORIGIN_COLORS
from uda4inst.methods.base import Views
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import Snapshot, read_snapshot
from uda4inst.run_folder.snapshots import write_snapshot
from uda4inst.structures import Domain, Sample, SemanticMap
from workbench.drawings.mixing import PictureView
from workbench.pages.mixing import page as mixing
from workbench.services import Services

Read = Callable[..., Snapshot]


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path], factories: ModuleType) -> Read:
    run = write_run(steps=4)

    def make(step: int = 100, **options: object) -> Snapshot:
        factories.write_snapshot(run, step, **options)
        return services.snapshots.read("demo", step)

    return make


def has_color(view: PictureView, color: tuple[int, int, int]) -> bool:
    return bool((view.picture == np.array(color)).all(axis=-1).any())


def test_draw__pasted_objects_in_the_colour_of_their_origin(read: Read) -> None:
    view = mixing.draw(read(), 0)
    _, source, pseudo_label, pool = ORIGIN_COLORS
    assert has_color(view.s2t, source)
    assert has_color(view.s2t, pool)
    assert not has_color(view.s2t, pseudo_label)
    assert has_color(view.t2s, pseudo_label)
    assert not has_color(view.t2s, source)


def test_draw__texts_count_what_was_pasted(read: Read) -> None:
    view = mixing.draw(read(pool=6), 0)
    assert "pasted from source" in view.s2t.text
    assert "pasted from pool" in view.s2t.text
    assert "pasted from pseudo-labels" in view.t2s.text
    assert "instances were there" in view.t2s.text
    assert "labelled instances" in view.source.text


def test_draw__pictures_are_enlarged_and_of_one_size(read: Read) -> None:
    view = mixing.draw(read(), 1)
    views = (view.source, view.target, view.pseudo_labels, view.s2t, view.t2s)
    shapes = {v.picture.shape for v in views if v.picture is not None}
    assert len(shapes) == 1
    assert shapes.pop()[1] >= 512


def test_draw__unmarked_shows_what_the_network_sees(read: Read) -> None:
    view = mixing.draw(read(), 0, marked=False)
    assert not has_color(view.s2t, ORIGIN_COLORS[1])
    assert "pasted from source" in view.s2t.text


def test_draw__stage_1_says_what_is_not_made(read: Read) -> None:
    view = mixing.draw(read(stage=1), 0)
    assert view.source.picture is not None
    for off in (view.pseudo_labels, view.s2t, view.t2s):
        assert (off.picture, off.text) == (None, "not made in stage 1")


@pytest.mark.parametrize("side", ["source", "target"])
def test_draw__semantic_maps_in_cityscapes_colours(tmp_path: Path, side: Domain) -> None:
    ids = torch.full((32, 64), 13, dtype=torch.uint8)
    ids[:16], ids[16:20] = 10, 255
    sample = Sample(torch.zeros(3, 32, 64), "a", side, semantic=SemanticMap(ids))
    views = Views(source=(sample,)) if side == "source" else Views(labelled=(sample,))
    run = RunDir(tmp_path)
    write_snapshot(run.snapshots, views, step=3, stage=2, method="any", kept=2)
    view = mixing.draw(read_snapshot(run, 3), 0)
    shown = view.source if side == "source" else view.target
    assert shown.text == "2 classes, 88 % of the pixels labelled"
    assert "sky" in view.classes
    assert "car" in view.classes
    assert shown.picture is not None
    red, green, blue = (int(v) for v in shown.picture[2, 2])
    assert blue > red > 0  # sky over black
    assert green > 0
    unmarked = mixing.draw(read_snapshot(run, 3), 0, marked=False)
    plain = (unmarked.source if side == "source" else unmarked.target).picture
    assert plain is not None
    assert not plain.any()
    assert view.s2t.picture is None


def test_draw__snapshot_without_items(read: Read) -> None:
    bare = replace(read(), items=())
    target = mixing.draw(bare, 0).target
    assert (target.picture, target.text) == (None, "nothing in this snapshot")
