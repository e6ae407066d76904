"""Images of a step with their objects, and the words for what is known of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import UInt8

from uda4inst.uda.mixing import Origin
from workbench.sessions.cutting import CutMask
from workbench.sessions.reading import GROUND_TRUTH

SeenDomain = Literal["source", "target", "S2T", "T2S", "pool"]
DOMAINS: Final[tuple[SeenDomain, ...]] = ("source", "target", "S2T", "T2S", "pool")

# Fields of objects.
INSTANCES: Final = "instances"
PSEUDO_LABELS: Final = "pseudo_labels"
DETECTIONS: Final = "detections"
IGNORED_REGION: Final = "ignored"
EGO_VEHICLE: Final = "ego_vehicle"
# Fields of maps. Of runs that learn the class of every pixel, "pseudo_labels" is one as well.
ORIGINS: Final = "origins"
SEMANTIC: Final = "semantic"
LIKELIEST: Final = "likeliest"
KEPT_PIXELS: Final = "kept_pixels"
VERDICTS: Final = "verdicts"
CLASS_MAPS: Final = (SEMANTIC, PSEUDO_LABELS, LIKELIEST, GROUND_TRUTH)  # of trainIds
# Fields of maps of 0..255.
CONFIDENCE: Final = "confidence"
WEIGHTS: Final = "weights"
DISCRIMINATOR: Final = "discriminator"
HEATMAPS: Final = (CONFIDENCE, WEIGHTS, DISCRIMINATOR)
# Facts by class: shares of an image's pixels, and how right those are that are kept.
SHARES: Final = "shares"
KEPT_SHARES: Final = "kept"
PRECISION: Final = "precision"
RECALL: Final = "recall"

KEPT, IGNORED, DROPPED = "kept", "ignored", "dropped"
# Where an object of a mixed image comes from, in the words of the Mixing page.
ORIGIN_WORDS: Final[Mapping[int, str]] = {
    Origin.BASE: "was there",
    Origin.SOURCE_INSTANCE: "source",
    Origin.PSEUDO_LABEL: "pseudo-labels",
    Origin.POOL: "pool",
}


class PixelVerdict(IntEnum):
    """What of a pixel's pseudo-label is right; the values are those of the map `verdicts`."""

    KEPT_RIGHT = 1
    KEPT_WRONG = 2
    DROPPED_RIGHT = 3
    DROPPED_WRONG = 4

    @property
    def words(self) -> str:
        """As people say it."""
        return self.name.lower().replace("_", ", ")


@dataclass(frozen=True, slots=True, eq=False)
class SeenObject:
    """One object of an image.

    Args:
        label: its class.
        mask: its pixels.
        facts: what else is known of it; None where something is not.
        mask_file: where the mask lies if it is not to be kept in the database.
    """

    label: str
    mask: CutMask
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    mask_file: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """One image of a step.

    Args:
        domain: what kind of image it is.
        name: its own within the snapshot; of a pool entry, within the run.
        image_name: the data set's name of the image it is, or is based on.
        pixels: RGB.
        objects: by field.
        maps: values of every pixel, by field.
        facts: what else is known of it.
    """

    domain: SeenDomain
    name: str
    image_name: str
    pixels: UInt8[np.ndarray, "H W 3"]
    objects: Mapping[str, Sequence[SeenObject]] = field(
        default_factory=dict[str, Sequence[SeenObject]]
    )
    maps: Mapping[str, UInt8[np.ndarray, "H W"]] = field(
        default_factory=dict[str, UInt8[np.ndarray, "H W"]]
    )
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


def region(label: str, mask: CutMask) -> list[SeenObject]:
    """Return pixels as one object, or none where there are none."""
    return [SeenObject(label, mask)] if mask.mask.size else []


def field_name(word: str) -> str:
    """Return a word as the name of a field.

    Example:
        >>> field_name("was there")
        'was_there'
    """
    return re.sub(r"\W+", "_", word)
