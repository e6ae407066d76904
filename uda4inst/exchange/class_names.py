"""Names of the classes that published heads have, by how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError

_COCO: Final = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
    vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_THINGS: Final = tuple(" ".join(name.split()) for name in _COCO.split(","))
_KNOWN: Final = {len(COCO_THINGS): COCO_THINGS, len(THING_NAMES): THING_NAMES}
# Heads that classify stuff too, or a whole image's pixels.
_OTHER_HEADS: Final = {
    133: "COCO's things and stuff",
    19: "Cityscapes' 19 classes",
    100: "ADE20K's things",
    150: "ADE20K's 150 classes",
    65: "Mapillary Vistas' 65 classes",
}


def names_of(classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a head's classes: those given, else those known, else numbers.

    Raises:
        UserError: another number of names is given, or a name twice.
    """
    if given is None:
        return _KNOWN.get(classes, tuple(str(index) for index in range(classes)))
    if len(given) != classes or len(set(given)) != classes or not all(given):
        raise UserError(
            f"--classes must name the {classes} classes of the head, each once, got {len(given)}: "
            f"{', '.join(given)[:200]}. Take the names of the data that it was trained on, in "
            "their order."
        )
    return tuple(given)


def head_in_words(names: Sequence[str]) -> str:
    """Say what a head of so many classes is, and whether training of ours keeps it."""
    if tuple(names) == THING_NAMES:
        return "Cityscapes' eight things, which are ours: the head is kept"
    if tuple(names) == COCO_THINGS:
        kind = "COCO's things"
    else:
        kind = _OTHER_HEADS.get(len(names), "classes of its own")
    return f"{len(names)} classes ({kind}): in training the head is drawn anew for ours"
