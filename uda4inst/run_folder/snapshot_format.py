"""The names inside a snapshot: keys of `snapshot.json`, arrays of `arrays.npz`.

The writer fills these types and the reader takes them apart, so that a name stands here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NotRequired, TypedDict

from uda4inst.formats.rle import Rle

FACTS: Final = "snapshot.json"
ARRAYS: Final = "arrays.npz"

# What every method may show; directions of mixing are views too, by the names methods give them.
# "pseudo" has no image of its own: its ids lie on the target.
View = Literal["source", "target", "valid", "pseudo"]
# Of a run that learns the class of every pixel: "semantic" are trainIds, 255 ignore, "weight" what
# each counts in the loss; of "pseudo", "best" are the likeliest classes before any threshold, and
# "confidence" their probabilities; "domains" of "target" is what a discriminator says of its
# domain, 1 for target. Probabilities and weights are in 1/255, rounded.
Part = Literal["ids", "labels", "origin", "semantic", "weight", "best", "confidence", "domains"]


def array_name(view: View | str, index: int, part: Part | None = None) -> str:
    """Return the name of an array of one batch item: a view's pixels, or a part of it.

    Example:
        >>> array_name("s2t", 1), array_name("s2t", 1, "ids")
        ('s2t_1', 's2t_ids_1')
    """
    return f"{view}_{index}" if part is None else f"{view}_{part}_{index}"


def patch_name(number: int) -> str:
    """Return the name of the patch of a pool entry."""
    return f"pool_{number}"


class DetectionFacts(TypedDict):
    """A detection of the teacher on the target image."""

    label: int
    score: float
    class_score: float
    mask_score: float
    rle: Rle
    valid_share: NotRequired[float]


class ItemFacts(TypedDict):
    """One position of the batch; `kept` says which detections became pseudo-labels."""

    source_id: str | None
    target_id: str | None
    detections: Sequence[DetectionFacts]
    kept: Sequence[bool]


class PoolFacts(TypedDict):
    """An entry of the rare-class pool; `patch` names its array."""

    label: int
    sample_id: str
    step: int
    times_drawn: int
    patch: str


class SnapshotFacts(TypedDict):
    """The content of `snapshot.json`; what older snapshots lack is marked so."""

    step: int
    stage: int
    method: str
    score_threshold: NotRequired[float]
    class_thresholds: NotRequired[Mapping[str, float]]
    unsure_threshold: NotRequired[float | None]
    min_visible_share: NotRequired[float]
    rare_classes: NotRequired[Sequence[str]]
    classes: NotRequired[Sequence[str]]
    own_classes: NotRequired[Sequence[str]]
    pixel_threshold: NotRequired[float]
    items: Sequence[ItemFacts]
    pool: NotRequired[Sequence[PoolFacts]]
