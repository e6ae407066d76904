"""Labelled images as training reads them."""

from __future__ import annotations

from collections import Counter
from typing import Final

from uda4inst.data.stream.dataset import Trees
from uda4inst.draw import display_size, draw_boxes, overlay_ignored, overlay_instances, resize
from workbench.notebook.shown import Captioned
from workbench.notebook.stepper import Stepper

SHOWN: Final = ("instances", "boxes", "ignored", "image")


def labels(data: Trees, *, images: int = 12) -> Stepper:
    """Step through the source's images and what is known of them.

    Args:
        data: its labelled source.
        images: how many, from the first.
    """
    source = data.source
    assert source is not None
    names = source.thing_classes.names

    def draw(image: int, show: str) -> Captioned:
        picture, found = source.read_image(image - 1), source.read_labels(image - 1)
        named = Counter(names[int(label)] for label in found.labels)
        counts = ", ".join(f"{n} {name}" for name, n in named.most_common())
        shown = {
            "instances": lambda: overlay_instances(picture, found.ids, found.labels, names=names),
            "boxes": lambda: draw_boxes(picture, found.ids, found.labels, names=names),
            "ignored": lambda: overlay_ignored(picture, found.ids, found.semantic),
            "image": lambda: resize(picture, display_size((picture.shape[0], picture.shape[1]))),
        }[show]()
        return Captioned(shown, f"{source.basename(image - 1)}, {show}: {counts or 'no objects'}")

    return Stepper(draw, {"image": range(1, min(images, len(source)) + 1), "show": SHOWN})
