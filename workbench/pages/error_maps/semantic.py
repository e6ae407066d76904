"""The pictures of the Error maps page for runs that predict the class of every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.draw import error_overlay, overlay_semantic
from uda4inst.evaluation.error_maps import BACKGROUND, error_map
from uda4inst.evaluation.semantic_errors import TRAIN_IDS, class_numbers
from workbench.stores.evaluations import SemanticSet
from workbench.ui import markup
from workbench.ui.palette import css

Image = NDArray[np.uint8]


def pictures(found: SemanticSet, name: str, *, thing: int | None) -> tuple[Image, Image]:
    """Return prediction and errors of an image, of one class or of all."""
    image, predicted = found.image(name), found.read_predicted(name)
    codes = error_map(
        class_numbers(predicted, ignore=BACKGROUND),
        class_numbers(found.read_truth(name)),
        thing=thing,
    )
    return overlay_semantic(image, _only(predicted, thing)), error_overlay(image, codes)


def truth(found: SemanticSet, name: str, *, thing: int | None) -> Image:
    """Return the annotation of an image, of one class or of all."""
    return overlay_semantic(found.image(name), _only(found.read_truth(name), thing))


def legend(found: Sequence[SemanticSet], name: str, *, thing: int | None) -> str:
    """Return the colours of the classes in the annotation of an image and in its predictions."""
    maps = [found[0].read_truth(name), *(one.read_predicted(name) for one in found)]
    present = np.unique(np.concatenate([np.unique(_only(ids, thing)) for ids in maps]))
    known = [c for c in SEMANTIC_CLASSES if c.train_id in present]
    return markup.legend([(c.name, css(c.color)) for c in known])


def _only(train_ids: NDArray[np.uint8], thing: int | None) -> NDArray[np.uint8]:
    """Return a map with the pixels of other classes ignored."""
    if thing is None:
        return train_ids
    return np.where(train_ids == TRAIN_IDS[thing], train_ids, np.uint8(IGNORE_TRAIN_ID))
