"""The Mixing page on images mixed by class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import semantic_snapshots

from uda4inst.run_folder.snapshot_reader import Snapshot
from workbench.pages.mixing import page as mixing
from workbench.services import Services

Read = Callable[..., Snapshot]


@pytest.fixture
def read(services: Services, write_run: Callable[..., Path]) -> Read:
    run = write_run(steps=4)

    def make(**options: bool) -> Snapshot:
        semantic_snapshots.write(run, 100, semantic_snapshots.views(**options))
        return services.snapshots.read("demo", 100)

    return make


def test_draw__class_mixed_images_say_how_much_was_pasted(read: Read) -> None:
    view = mixing.draw(read(), 0)
    assert (
        view.s2t.text
        == "25 % of the pixels pasted from source · 3 classes, 100 % of the pixels labelled"
    )
    assert view.pseudo_labels.text == "2 classes, 100 % of the pixels labelled"
    assert view.target.text == "what the teacher sees"
    assert view.t2s.picture is None
    assert "car" in view.classes
    assert "sky" in view.classes


def test_draw__weights_are_white_where_pixels_count_whole(read: Read) -> None:
    view = mixing.draw(read(), 0)
    picture = view.weights.picture
    assert picture is not None
    height, width = picture.shape[:2]
    assert picture[height // 2, width // 2].tolist() == [255] * 3
    assert picture[0, 0].tolist() == [64] * 3
    assert view.weights.text.endswith("the target's pixels 0.25 on average")
    assert view.maps.visible


def test_draw__what_a_discriminator_says(read: Read) -> None:
    assert mixing.draw(read(), 0).domains.text == "no discriminator"
    view = mixing.draw(read(domains=True), 0).domains
    assert view.picture is not None
    assert np.unique(view.picture).tolist() == [51]
    assert view.text.endswith("0.20 on average")
