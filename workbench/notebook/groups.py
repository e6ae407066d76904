"""Which classes each model of a grouping learns, on real labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uda4inst.classes import CATEGORY_GROUPINGS, THING_NAMES
from uda4inst.data.stream.dataset import Trees
from uda4inst.draw import overlay_instances
from workbench.notebook.shown import Captioned
from workbench.notebook.stepper import Stepper


def category_groups(data: Trees, groupings: Sequence[str], *, images: int = 8) -> Stepper:
    """Step through groupings and their models: what each is taught on an image.

    Args:
        data: its labelled source.
        groupings: names of `method.groups`, such as "two".
        images: how many images, from the first.
    """
    source = data.source
    assert source is not None
    models = {
        f"{grouping}: {', '.join(group)}": group
        for grouping in groupings
        for group in CATEGORY_GROUPINGS[grouping]
    }

    def draw(image: int, model: str) -> Captioned:
        record = source.read_instances(image - 1)
        learned = {THING_NAMES.index(name) for name in models[model]}
        labels = np.asarray([k if k in learned else -1 for k in record.labels.tolist()])
        shown = overlay_instances(
            source.read_image(image - 1), record.ids, labels, names=THING_NAMES
        )
        taught = int((labels >= 0).sum())
        text = f"{model}. It is taught {taught} of {len(labels)} objects; the rest is background."
        return Captioned(shown, text)

    count = min(images, len(source))
    return Stepper(draw, {"model": list(models), "image": range(1, count + 1)})
