"""Configuration of the data: which trees, and how their images are augmented.

The app builds its form from this schema, so each field carries a description and its range.
Defaults are the UDA4Inst authors': 1024x1024 crops of 1024x2048 images, Mask2Former's augmentation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# Spelled out because a schema lists its choices as literals; a test holds it to `DATASETS`.
FormatName = Literal["urbansyn", "cityscapes"]
Pairing = Literal["random", "modulo"]
_Side = Annotated[int, Field(ge=32, le=8192)]


class _Part(BaseModel):
    """What all parts share: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DatasetRef(_Part):
    """One split of a data set on disk."""

    format: FormatName = Field(description="How the folder is laid out.")
    root: str = Field(
        min_length=1,
        description="The data set's folder: the one that holds rgb, ss and panoptic (urbansyn) or "
        "leftImg8bit and gtFine (cityscapes).",
    )
    split: str = Field(
        "train",
        min_length=1,
        description="Which part: train for urbansyn; a folder of leftImg8bit for cityscapes.",
    )


class TargetRef(DatasetRef):
    """The unlabelled target images; their label files are never opened, except by the oracle."""

    ego_vehicle: str = Field(
        "auto",
        min_length=1,
        description="Where no pseudo-label may lie: none, a mask file (PNG, 0 on the ego vehicle), "
        "or auto: ego_vehicle.png in the root if there, else Cityscapes' own shape on 2:1 images "
        "of that format.",
    )


class DataConfig(_Part):
    """Source and target images, and what is done to them before training sees them."""

    source: DatasetRef = Field(description="Labelled synthetic images.")
    target: TargetRef = Field(description="Unlabelled real images.")
    val: DatasetRef = Field(description="Labelled real images to evaluate on; never trained on.")
    crop: tuple[_Side, _Side] = Field(
        (1024, 1024), description="Height and width of a training image, cut at random."
    )
    short_sides: tuple[_Side, ...] = Field(
        (1024, 1126, 1228, 1331, 1433, 1536, 1638, 1740, 1843, 1945, 2048),
        min_length=1,
        description="Before cutting, the shorter side is resized to one of these at random "
        "(authors' code: 1024 times 1.0 to 2.0).",
    )
    long_side_max: int = Field(
        2048,
        ge=32,
        le=16384,
        description="The longer side is held to this when resizing (authors' code: 2048, so that "
        "2:1 images of 1024x2048 keep their size).",
    )
    flip: bool = Field(True, description="Mirror half of the images.")
    photometric: bool = Field(
        True, description="Change brightness, contrast, saturation and hue at random."
    )
    pairing: Pairing = Field(
        "random",
        description="Which target image accompanies a source image: one drawn on its own, or "
        "always the one of the same number, modulo the number of target images (authors' code).",
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes that load images; 0 loads between steps, which is best for small "
        "images without a GPU. 4 or more for 1024x2048 images with one.",
    )
