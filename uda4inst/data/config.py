"""Configuration of the data: which trees, and how their images are augmented.

The app builds its form from this schema, so each field carries a description and its range.
Defaults are the UDA4Inst authors': 1024x1024 crops of 1024x2048 images, Mask2Former's augmentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from uda4inst.data.tree import DatasetOptions, ObjectFilter, Unnumbered
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap, read_class_map
from uda4inst.formats.image_list import ImageList, read_image_list
from uda4inst.settings import Settings

# Spelled out because a schema lists its choices as literals; a test holds it to `DATASETS`.
FormatName = Literal[
    "urbansyn",
    "cityscapes",
    "synscapes",
    "synthia",
    "kitti360",
    "bdd100k",
    "images",
    "gta5",
    "coco",
]
Pairing = Literal["random", "modulo"]
_Side = Annotated[int, Field(ge=32, le=8192)]


class DatasetRef(Settings):
    """One split of a data set on disk, and how it is read."""

    format: FormatName = Field(description="How the folder is laid out; docs/datasets has each.")
    root: str = Field(
        min_length=1, description="The data set's folder, with the tree of its format in it."
    )
    split: str = Field(
        "train",
        min_length=1,
        description="Which part; data sets without splits (urbansyn, synscapes, synthia, gta5) "
        "have train, which is everything.",
    )
    max_occlusion: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Ignore objects of which a larger share is hidden (urbansyn, synscapes; "
        "bdd100k marks objects with 0 or 1). Empty: keep all.",
    )
    max_truncation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Ignore objects of which a larger share lies outside the picture (synscapes; "
        "bdd100k with 0 or 1). Empty: keep all.",
    )
    min_area: int = Field(
        0, ge=0, description="Ignore objects of fewer visible pixels in the original image."
    )
    unnumbered: Unnumbered = Field(
        "ignore",
        description="What thing pixels without an instance number are (synthia): ignored, one "
        "object per connected component, or one object per class.",
    )
    annotations: str | None = Field(
        None,
        min_length=1,
        description="Annotation file of a coco folder, from its root. Empty: "
        "annotations/instances_SPLIT.json or annotations/SPLIT.json.",
    )

    class_map: str | None = Field(
        None,
        min_length=1,
        description="File that maps the data set's class names to the eight, or to nothing "
        "(docs/datasets). Empty: by their usual names.",
    )
    class_map_hash: str | None = Field(
        None,
        description="Hash of that map, filled in by itself; a map that has changed since is "
        "refused.",
        json_schema_extra={"by_itself": True},
    )
    only: str | None = Field(
        None,
        min_length=1,
        description="Use the images this file lists, one name a line, and no others. Empty: all.",
    )
    only_hash: str | None = Field(
        None,
        description="Hash of that list, filled in by itself; a list that has changed since is "
        "refused.",
        json_schema_extra={"by_itself": True},
    )

    moved_from: str | None = Field(
        None,
        description="Where the folder was when the run began, filled in by itself where the run "
        "goes on elsewhere: the configuration's hash stays that of this place.",
        json_schema_extra={"by_itself": True},
    )

    @model_validator(mode="after")
    def _check_only(self) -> DatasetRef:
        if self.only_hash is not None and self.only is None:
            raise ValueError("only must name the image list whose hash only_hash is, got none")
        if self.class_map_hash is not None and self.class_map is None:
            raise ValueError("class_map must name the map whose hash class_map_hash is, got none")
        return self

    @property
    def object_filter(self) -> ObjectFilter:
        """Which objects are worth learning."""
        return ObjectFilter(
            max_occlusion=self.max_occlusion,
            max_truncation=self.max_truncation,
            min_area=self.min_area,
        )

    def moved(self, root: str) -> DatasetRef:
        """Return the reference to the same data set in another folder."""
        if root == self.root:
            return self
        began = self.moved_from or self.root
        moved_from = None if began == root else began
        return self.model_copy(update={"root": root, "moved_from": moved_from})

    def pinned(self) -> DatasetRef:
        """Return the reference with the hashes of its files as they are now, where it had none.

        Raises:
            UserError: the image list or the class map cannot be read.
        """
        update: dict[str, str] = {}
        if self.only is not None and self.only_hash is None:
            update["only_hash"] = read_image_list(Path(self.only)).hash
        if self.class_map is not None and self.class_map_hash is None:
            update["class_map_hash"] = read_class_map(Path(self.class_map)).hash
        return self.model_copy(update=update)

    def _image_list(self) -> ImageList | None:
        """Return the images to use; None for all."""
        if self.only is None:
            return None
        found = read_image_list(Path(self.only))
        _require_same("image list", self.only, configured=self.only_hash, found=found.hash)
        return found

    def _class_map(self) -> ClassMap | None:
        """Return what the data set's names stand for; None for the usual names."""
        if self.class_map is None:
            return None
        found = read_class_map(Path(self.class_map))
        _require_same("class map", self.class_map, configured=self.class_map_hash, found=found.hash)
        return found

    def options(self) -> DatasetOptions:
        """Return how the tree is read.

        Raises:
            UserError: an image list or class map cannot be read, or has changed.
        """
        return DatasetOptions(
            objects=self.object_filter,
            unnumbered=self.unnumbered,
            annotations=None if self.annotations is None else Path(self.annotations),
            only=self._image_list(),
            class_map=self._class_map(),
        )


def _require_same(what: str, path: str, *, configured: str | None, found: str) -> None:
    """Raise where a file is not the one that a run was configured with."""
    if configured not in (None, found):
        raise UserError(
            f"{what} must be the one the run was configured with ({configured}), got another "
            f"({found}, {path}). Take the change back, or start a new run."
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


class DataConfig(Settings):
    """Source and target images, and what is done to them before training sees them."""

    source: DatasetRef = Field(description="Labelled synthetic images.")
    target: TargetRef = Field(description="Unlabelled real images.")
    val: DatasetRef = Field(
        description="Labelled real images to evaluate on, never trained on; format and root are "
        "the target's where they are not given, split is val."
    )
    crop: tuple[_Side, _Side] = Field(
        (1024, 1024),
        description="Height and width of a training image, cut at random (authors' code: 1024).",
    )
    short_sides: tuple[_Side, ...] = Field(
        (1024, 1126, 1228, 1331, 1433, 1536, 1638, 1740, 1843, 1945, 2048),
        min_length=1,
        description="Before cutting, the shorter side is resized to one of these at random "
        "(authors' code: 1024 times 1.0 to 2.0).",
    )
    source_short_sides: tuple[_Side, ...] | None = Field(
        None,
        min_length=1,
        description="The same of source images, where they are resized otherwise (DAFormer: GTA5 "
        "to 704, Cityscapes to 512). Empty: as short_sides.",
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
    skip_empty: bool = Field(
        True,
        description="Leave out images to learn from that show no object (of the category group), "
        "as the authors' code does. Label maps are read once to know.",
    )
    rare_class_temperature: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Draw source images by class, rare classes more often: probability "
        "proportional to exp((1 - share) / temperature), 0.01 to 0.1 is strong; the share is of "
        "all instances, or of all pixels where semantic maps are learned (DAFormer: 0.01). Empty: "
        "every image equally often, as in the paper.",
    )
    rare_class_pixels: int = Field(
        3000,
        ge=0,
        description="With rare_class_temperature, where semantic maps are learned: an image is "
        "drawn for a class that it shows more than so many pixels of, and its crop should show "
        "more than half as many (DAFormer: 3000). Small images need less.",
    )
    max_class_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Where semantic maps are learned: cut source images elsewhere, up to ten "
        "times, while one class has a larger share of the crop's labelled pixels (DAFormer: "
        "0.75). Empty: cut anywhere.",
    )
    align_offline: bool = Field(
        False,
        description="Give every source image the LAB statistics of one target image drawn for it "
        "once, whole images before augmentation (the paper's lineage). In place of "
        "method.lab_alignment, which aligns crops pair by pair.",
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes that load images; 0 loads between steps, which is best for small "
        "images without a GPU. 4 or more for 1024x2048 images with one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_val(cls, values: Any) -> Any:
        """Evaluate on the target's own val split unless another is named."""
        if not isinstance(values, dict) or not isinstance(values.get("target"), dict):
            return values
        target = values["target"]
        inherited = {key: target[key] for key in ("format", "root") if key in target}
        val = values.get("val") or {}
        if not isinstance(val, dict):
            return values
        return {**values, "val": {**inherited, "split": "val", **val}}
