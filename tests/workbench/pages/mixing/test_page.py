from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uda4inst.colors import ORIGIN_COLORS
from uda4inst.run_folder.snapshot_reader import Snapshot
from workbench.pages.mixing import page as mixing
from workbench.services import Services


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path], factories: Any) -> Any:
    run = write_run(steps=4)

    def make(step: int = 100, **options: Any) -> Snapshot:
        factories.write_snapshot(run, step, **options)
        return services.snapshots.read("demo", step)

    return make


def has_color(picture: Any, color: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(color)).all(axis=-1).any())


def test_draw__pasted_objects_in_the_colour_of_their_origin(read: Any) -> None:
    view = mixing.draw(read(), 0)
    _, source, pseudo_label, pool = ORIGIN_COLORS
    assert has_color(view.s2t, source)
    assert has_color(view.s2t, pool)
    assert not has_color(view.s2t, pseudo_label)
    assert has_color(view.t2s, pseudo_label)
    assert not has_color(view.t2s, source)


def test_draw__texts_count_what_was_pasted(read: Any) -> None:
    view = mixing.draw(read(pool=6), 0)
    assert "pasted from source" in view.s2t_text
    assert "pasted from pool" in view.s2t_text
    assert "pasted from pseudo-labels" in view.t2s_text
    assert "instances were there" in view.t2s_text
    assert "labelled instances" in view.source_text


def test_draw__pictures_are_enlarged_and_of_one_size(read: Any) -> None:
    view = mixing.draw(read(), 1)
    pictures = [view.source, view.target, view.pseudo_labels, view.s2t, view.t2s]
    assert {p.shape for p in pictures if p is not None} == {view.target.shape}
    assert view.target.shape[1] >= 512


def test_draw__unmarked_shows_what_the_network_sees(read: Any) -> None:
    view = mixing.draw(read(), 0, marked=False)
    assert not has_color(view.s2t, ORIGIN_COLORS[1])
    assert "pasted from source" in view.s2t_text


def test_draw__stage_1_says_what_is_not_made(read: Any) -> None:
    view = mixing.draw(read(stage=1), 0)
    assert view.source is not None
    assert (view.pseudo_labels, view.s2t, view.t2s) == (None, None, None)
    assert view.s2t_text == "not made in stage 1"


def test_draw__snapshot_without_items(read: Any) -> None:
    snapshot = read()
    bare = Snapshot(**{**vars(snapshot), "items": ()})
    assert mixing.draw(bare, 0).target is None
