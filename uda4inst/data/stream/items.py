"""What one draw of training items holds, as bytes: pictures and the labels that were asked for."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Int32, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ItemInstances:
    """The instances of an augmented image.

    Args:
        ids: 0 background, k > 0 the k-th instance, -1 ignore; every instance has pixels.
        labels: thing index of every instance.
    """

    ids: Int32[Tensor, "H W"]
    labels: Int64[Tensor, " N"]


@dataclass(frozen=True, slots=True, eq=False)
class ItemSemantic:
    """The class of every pixel of an augmented image: trainIds, 255 ignore."""

    ids: UInt8[Tensor, "H W"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledItem:
    """An augmented image with the labels that were asked for, as bytes.

    Args:
        image: RGB.
        sample_id: the data set's own name of the image.
        labels: its instances or its semantic map.
    """

    image: UInt8[Tensor, "3 H W"]
    sample_id: str
    labels: ItemInstances | ItemSemantic


@dataclass(frozen=True, slots=True, eq=False)
class TargetItem:
    """An augmented image without labels, as bytes.

    Args:
        image: RGB.
        valid: False on the ego vehicle and where padded.
        sample_id: the data set's own name of the image.
    """

    image: UInt8[Tensor, "3 H W"]
    valid: Bool[Tensor, "H W"]
    sample_id: str


@dataclass(frozen=True, slots=True, eq=False)
class RawItem:
    """What one draw gives; the parts a mode does not have are None."""

    source: LabelledItem | None = None
    target: TargetItem | None = None
    labelled: LabelledItem | None = None
