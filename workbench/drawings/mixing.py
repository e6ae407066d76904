"""What the student is trained on at a step: each view of a batch item, and the line below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID
from uda4inst.draw import (
    display_size,
    origins_of,
    outline_by_origin,
    overlay_instances,
    overlay_semantic,
    resize,
)
from uda4inst.run_folder.snapshot_reader import (
    LabelledImage,
    SemanticImage,
    Snapshot,
    SnapshotItem,
)
from uda4inst.uda.mixing import Origin
from workbench.drawings.pixel_labels import gray_map, weight_map

Image = NDArray[np.uint8]

# What is pasted, by the kind of origin.
PASTED: Final = {
    Origin.SOURCE_INSTANCE: "source",
    Origin.PSEUDO_LABEL: "pseudo-labels",
    Origin.POOL: "pool",
}


@dataclass(frozen=True, slots=True, eq=False)
class PictureView:
    """A picture, or None, and the line below it."""

    picture: Image | None
    text: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ItemPictures:
    """The views of one batch item, in the order of a step."""

    source: PictureView
    target: PictureView
    pseudo_labels: PictureView
    s2t: PictureView
    t2s: PictureView
    weights: PictureView
    domains: PictureView


def item_pictures(snapshot: Snapshot, item: SnapshotItem, *, marked: bool = True) -> ItemPictures:
    """Return the views of an item.

    Args:
        snapshot: the item's; of any stage and method.
        item: one position of the batch.
        marked: whether labels are drawn, or the images shown as the network sees them.
    """
    names = item.names
    off = "not made in stage 1" if snapshot.stage == 1 else "not made by this run's settings"
    return ItemPictures(
        source=_source(item, marked=marked),
        target=_target(item, marked=marked),
        pseudo_labels=_pseudo_labels(item, off, marked=marked),
        s2t=_class_mixed(item.s2t_semantic, "source", marked=marked)
        or PictureView(
            _mixed(item.s2t, marked=marked),
            _pasted(item.s2t, "pseudo-labels were there", off, item.names),
        ),
        t2s=_class_mixed(item.t2s_semantic, "pseudo-labels", marked=marked)
        or PictureView(
            _mixed(item.t2s, marked=marked),
            _pasted(item.t2s, "instances were there", off, names),
        ),
        weights=_weights(item),
        domains=_domains(item),
    )


def _pseudo_labels(item: SnapshotItem, off: str, *, marked: bool) -> PictureView:
    labels = item.pixel_labels
    if labels is None:
        return PictureView(
            _labelled(item.pseudo_labels, marked=marked),
            _counted(item.pseudo_labels, "kept", off, item.names),
        )
    return _semantic(labels.learned, marked=marked)


def _class_mixed(shown: SemanticImage | None, pasted: str, *, marked: bool) -> PictureView | None:
    """Return an image mixed by class, and how much of it was pasted; None where there is none."""
    if shown is None:
        return None
    view = _semantic(shown, marked=marked)
    share = 0.0 if shown.origin is None else 100 * float((shown.origin > 0).mean())
    text = f"{share:.0f} % of the pixels pasted from {pasted} · {view.text}"
    return PictureView(view.picture, text)


def _weights(item: SnapshotItem) -> PictureView:
    shown = item.s2t_semantic
    if shown is None or shown.weight is None:
        return PictureView(None, "every pixel counts alike")
    below = shown.weight[shown.origin == 0] if shown.origin is not None else shown.weight
    mean = float(below.mean()) / 255 if below.size else 0.0
    return PictureView(
        weight_map(shown), f"white counts 1; the target's pixels {mean:.2f} on average"
    )


def _domains(item: SnapshotItem) -> PictureView:
    if item.domains is None:
        return PictureView(None, "no discriminator")
    mean = float(item.domains.mean()) / 255
    return PictureView(
        gray_map(item.domains), f"white is target for sure, black source; {mean:.2f} on average"
    )


def _plain(image: Image) -> Image:
    return resize(image, display_size((image.shape[0], image.shape[1])))


def _source(item: SnapshotItem, *, marked: bool) -> PictureView:
    if item.source_semantic is not None:
        return _semantic(item.source_semantic, marked=marked)
    return PictureView(
        _labelled(item.source, marked=marked),
        _counted(item.source, "labelled instances", "no source image", item.names),
    )


def _target(item: SnapshotItem, *, marked: bool) -> PictureView:
    if item.target_semantic is not None:
        return _semantic(item.target_semantic, marked=marked)
    if item.target is None:
        return PictureView(None, "no target image")
    has_teacher = item.pseudo_labels is not None or item.pixel_labels is not None
    return PictureView(
        _plain(item.target),
        "what the teacher sees" if has_teacher else "lends its colours to the source",
    )


def _semantic(shown: SemanticImage, *, marked: bool) -> PictureView:
    picture = overlay_semantic(shown.image, shown.train_ids) if marked else _plain(shown.image)
    labelled = 100 * (shown.train_ids != IGNORE_TRAIN_ID).mean()
    count = len(present(shown))
    return PictureView(picture, f"{count} classes, {labelled:.0f} % of the pixels labelled")


def present(shown: SemanticImage) -> list[int]:
    """Return the trainIds that occur."""
    return [int(k) for k in np.unique(shown.train_ids) if k != IGNORE_TRAIN_ID]


def _labelled(labelled: LabelledImage | None, *, marked: bool) -> Image | None:
    if labelled is None:
        return None
    if not marked:
        return _plain(labelled.image)
    return overlay_instances(labelled.image, labelled.ids, labelled.labels, alpha=0.35)


def _mixed(labelled: LabelledImage | None, *, marked: bool) -> Image | None:
    if labelled is None:
        return None
    if not marked or labelled.origin is None:
        return _plain(labelled.image)
    return outline_by_origin(labelled.image, labelled.ids, labelled.origin)


def _counted(
    labelled: LabelledImage | None, what: str, otherwise: str, names: Sequence[str]
) -> str:
    if labelled is None:
        return otherwise
    return f"{len(labelled.labels)} {what}{_classes(labelled.labels, names)}"


def _pasted(labelled: LabelledImage | None, base: str, otherwise: str, names: Sequence[str]) -> str:
    if labelled is None or labelled.origin is None:
        return otherwise
    kinds = origins_of(labelled.ids, labelled.origin)
    parts = []
    for kind, word in PASTED.items():
        numbers = [number for number, origin in kinds.items() if origin == kind]
        if numbers:
            labels = labelled.labels[np.asarray(numbers) - 1]
            parts.append(f"{len(numbers)} pasted from {word}{_classes(labels, names)}")
    below = sum(origin == Origin.BASE for origin in kinds.values())
    return " · ".join([*(parts or ["nothing pasted"]), f"{below} {base}"])


def _classes(labels: NDArray[np.int64], names: Sequence[str]) -> str:
    counts = Counter(names[int(label)] for label in labels)
    listed = ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.most_common())
    return f" ({listed})" if listed else ""
