"""Instance mixing across domains (UDA4Inst): one function for both directions.

S2T: base = target crop with its pseudo-labels, pasted = source instances, then pool entries.
T2S: base = source crop with its instances, pasted = pseudo-labels. Both at the same location.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float16, Float32, UInt8
from pydantic import Field, model_validator
from torch import Tensor

from uda4inst.ops.blur import blur_5x5
from uda4inst.ops.paste import Pasted, paste
from uda4inst.ops.patches import boxes_region
from uda4inst.settings import Settings
from uda4inst.structures import InstanceMap, Sample, TargetSample
from uda4inst.uda.pool_layer import pool_layer
from uda4inst.uda.rare_class_pool import PoolEntry


class MixingConfig(Settings):
    """Bidirectional instance mixing."""

    s2t: bool = Field(
        default=True, description="Paste source instances into the target image (S2T)."
    )
    t2s: bool = Field(default=True, description="Paste pseudo-labels into the source image (T2S).")
    s2t_weight: float = Field(
        default=0.4,
        ge=0,
        le=10,
        description="Weight of the S2T loss. Paper: 0.4 (UrbanSyn, SYNTHIA), 0.75 (Synscapes).",
    )
    t2s_weight: float = Field(
        default=0.6,
        ge=0,
        le=10,
        description="Weight of the T2S loss. Paper: 0.6 (UrbanSyn, SYNTHIA), 0.25 (Synscapes).",
    )
    min_area: int = Field(
        default=0,
        ge=0,
        description="Smallest instance pasted, in pixels of the crop. The paper names none; "
        "the authors' v1 code uses 3000 at 1024x1024, their later code 300.",
    )
    patch_max_area: int = Field(
        default=0,
        ge=0,
        description="Instances of at most so many pixels of the crop are pasted with the whole of "
        "their box, in both directions; their masks stay as they are. 0 for none (paper); the "
        "authors' later code: 1500.",
    )
    blur: bool = Field(
        default=False,
        description="Blur the source image (5x5 Gaussian) before its instances are pasted, in S2T "
        "alone. Not in the paper; the authors' code does.",
    )
    batch: Literal["pairs", "thirds"] = Field(
        default="pairs",
        description="pairs: every pair gives an S2T and a T2S image, each weighted (paper). "
        "thirds: of every three pairs, one plain source, one S2T and one T2S image, all in one "
        "unweighted loss (authors' later code).",
    )

    @model_validator(mode="after")
    def _check_thirds(self) -> MixingConfig:
        if self.batch == "thirds" and not (self.s2t and self.t2s):
            off = "s2t" if self.t2s else "t2s" if self.s2t else "s2t and t2s"
            raise ValueError(
                "method.mixing.batch must be pairs unless both directions are on, got thirds "
                f"without {off}. Set method.mixing.batch=pairs"
            )
        return self

    def makes_s2t(self, pair: int) -> bool:
        """Whether the pair at this place in the batch is mixed source into target."""
        return self.s2t and (self.batch == "pairs" or pair % 3 == 1)

    def makes_t2s(self, pair: int) -> bool:
        """Whether the pair at this place in the batch is mixed target into source."""
        return self.t2s and (self.batch == "pairs" or pair % 3 == 2)


class Origin(IntEnum):
    """Where a pixel of a mixed image comes from; the values are stored in snapshots."""

    BASE = 0
    SOURCE_INSTANCE = 1
    PSEUDO_LABEL = 2
    POOL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A mixed image with its instances.

    Args:
        image: RGB in [0, 1].
        instances: slots of the base, then of the pasted map, then of the pool's entries; covered
            instances keep a slot without pixels.
        origin: an `Origin` per pixel.
        weights: how much every slot counts in the loss; None: all of them 1.
        confidence: how sure the teacher is of each pixel, 1 where it is the source's; None where
            that plays no part.
    """

    image: Float32[Tensor, "3 H W"]
    instances: InstanceMap
    origin: UInt8[Tensor, "H W"]
    weights: Float32[Tensor, " N"] | None = None
    confidence: Float16[Tensor, "H W"] | None = None


def mix(
    base_image: Float32[Tensor, "3 H W"],
    base: InstanceMap,
    pasted_image: Float32[Tensor, "3 H W"],
    pasted: InstanceMap,
    *,
    origin: Origin,
    min_area: int = 0,
    patch_max_area: int = 0,
    pool: Sequence[PoolEntry] = (),
    pool_max_overlap: float = 1.0,
    base_weights: Float32[Tensor, " B"] | None = None,
    pasted_weights: Float32[Tensor, " P"] | None = None,
    base_confidence: Float16[Tensor, "H W"] | None = None,
    pasted_confidence: Float16[Tensor, "H W"] | None = None,
) -> Mixed:
    """Paste every instance of one image into another, then the pool's entries on top.

    Nothing is read back from the device, and inputs are left untouched. No instances at all is an
    ordinary case: the result is then the base.

    Args:
        base_image: the image below.
        base: its instances, or pseudo-labels; they lose the pixels that are covered.
        pasted_image: the image instances are taken from, same size.
        pasted: its instances, or pseudo-labels.
        origin: what the pasted instances are, for `Mixed.origin`.
        min_area: smallest instance pasted, in pixels.
        patch_max_area: instances of at most so many pixels are pasted with the whole of their box,
            the pool's too; their masks stay what they are. 0 for none.
        pool: entries of the rare-class pool, pasted in order.
        pool_max_overlap: an entry of which more than this share would lie on instances is left out.
        base_weights: of the base's slots, where they are not 1 (soft pseudo-labels).
        pasted_weights: of the pasted map's slots.
        base_confidence: of the base's pixels, where they are the teacher's.
        pasted_confidence: of the pasted image's pixels; it goes with them, boxes too.
    """
    which, patches = None, None
    if min_area or patch_max_area:
        areas = pasted.areas()
        which = areas >= min_area
        if patch_max_area:
            patches = boxes_region(pasted, which & (areas <= patch_max_area))
    mixed = paste(base_image, base, pasted_image, pasted, which=which, surplus=patches)
    confidence = _mixed_confidence(mixed, base_confidence, pasted_confidence)
    origins = mixed.pasted.to(torch.uint8).mul_(int(origin))  # `Origin.BASE` is 0
    if pool:
        mixed = _paste_pool(mixed, pool, patch_max_area, pool_max_overlap)
        origins = origins.masked_fill_(mixed.pasted, int(Origin.POOL))
        if confidence is not None:
            confidence = confidence.masked_fill_(mixed.pasted, 1.0)
    weights = None
    if base_weights is not None or pasted_weights is not None:
        ones = mixed.image.new_ones(len(mixed.instances))
        of_base = ones[: len(base)] if base_weights is None else base_weights
        of_pasted = ones[: len(pasted)] if pasted_weights is None else pasted_weights
        weights = torch.cat([of_base, of_pasted, ones[len(base) + len(pasted) :]])
    return Mixed(mixed.image, mixed.instances, origins, weights, confidence)


def _mixed_confidence(
    mixed: Pasted,
    base: Float16[Tensor, "H W"] | None,
    pasted: Float16[Tensor, "H W"] | None,
) -> Float16[Tensor, "H W"] | None:
    """Return the confidence of every pixel of a mixed image, 1 where it came without one."""
    if base is None and pasted is None:
        return None
    sure = torch.ones(mixed.instances.size, dtype=torch.float16, device=mixed.image.device)
    below, above = (sure if given is None else given for given in (base, pasted))
    return torch.where(mixed.pasted, above, below)


def _paste_pool(
    mixed: Pasted, pool: Sequence[PoolEntry], patch_max_area: int, max_overlap: float
) -> Pasted:
    """Return a mixed image with entries of the pool on top."""
    layer = pool_layer(
        pool,
        mixed.instances.size,
        device=mixed.image.device,
        patch_max_area=patch_max_area,
        taken=mixed.instances.ids > 0 if max_overlap < 1 else None,
        max_overlap=max_overlap,
    )
    return paste(mixed.image, mixed.instances, layer.image, layer.instances, surplus=layer.surplus)


class Pair(NamedTuple):
    """A source crop, its target crop with pseudo-labels, what these count, how sure they are."""

    source: Sample
    target: TargetSample
    pseudo_labels: InstanceMap
    weights: Float32[Tensor, " N"] | None = None
    confidence: Float16[Tensor, "H W"] | None = None


class InstanceMixer:
    """Mixes the pairs of a batch in the directions the configuration asks for.

    Args:
        config: directions, sizes, blur.
        pool_max_overlap: see `mix`.
        rare_labels: thing indices that `rare_weight` is for.
        rare_weight: how much instances of rare classes count in the loss.
    """

    def __init__(
        self,
        config: MixingConfig,
        *,
        pool_max_overlap: float = 1.0,
        rare_labels: Collection[int] = (),
        rare_weight: float = 1.0,
    ) -> None:
        self.config = config
        self.pool_max_overlap = pool_max_overlap
        self.rare_labels = sorted(rare_labels)
        self.rare_weight = rare_weight

    def pasted_source(self, source: Sequence[Sample]) -> tuple[Sample, ...]:
        """Return the source crops as S2T pastes them, and as the pool stores them."""
        if not self.config.blur:
            return tuple(source)
        return tuple(replace(crop, image=blur_5x5(crop.image)) for crop in source)

    def s2t(
        self,
        pairs: Sequence[Pair],
        pasted: Sequence[Sample],
        pool: Sequence[Sequence[PoolEntry]],
    ) -> tuple[Mixed | None, ...]:
        """Paste source instances, then pool entries, into the target crops.

        Args:
            pairs: of the batch.
            pasted: their source crops as `pasted_source` gives them.
            pool: what was drawn for every pair.

        Returns:
            One mixed image a pair; None for a pair that is not mixed this way.
        """
        config = self.config
        mixed: list[Mixed | None] = [None] * len(pairs)
        for index, (_, target, pseudo_labels, weights, confidence) in enumerate(pairs):
            if config.makes_s2t(index):
                source = pasted[index]
                mixed[index] = self._weighed(
                    mix(
                        target.image,
                        pseudo_labels,
                        source.image,
                        source.known_instances(),
                        origin=Origin.SOURCE_INSTANCE,
                        min_area=config.min_area,
                        patch_max_area=config.patch_max_area,
                        pool=pool[index],
                        pool_max_overlap=self.pool_max_overlap,
                        base_weights=weights,
                        base_confidence=confidence,
                    )
                )
        return tuple(mixed)

    def t2s(self, pairs: Sequence[Pair]) -> tuple[Mixed | None, ...]:
        """Paste pseudo-labels into the source crops; None for a pair not mixed this way."""
        config = self.config
        mixed: list[Mixed | None] = [None] * len(pairs)
        for index, (source, target, pseudo_labels, weights, confidence) in enumerate(pairs):
            if config.makes_t2s(index):
                mixed[index] = self._weighed(
                    mix(
                        source.image,
                        source.known_instances(),
                        target.image,
                        pseudo_labels,
                        origin=Origin.PSEUDO_LABEL,
                        min_area=config.min_area,
                        patch_max_area=config.patch_max_area,
                        pasted_weights=weights,
                        pasted_confidence=confidence,
                    )
                )
        return tuple(mixed)

    def _weighed(self, mixed: Mixed) -> Mixed:
        """Return a mixed image whose rare instances count more, if that is asked for."""
        if self.rare_weight == 1:
            return mixed
        labels = mixed.instances.labels
        factors = mixed.image.new_ones(len(labels))
        for label in self.rare_labels:
            factors = torch.where(labels == label, self.rare_weight, factors)
        weights = factors if mixed.weights is None else factors * mixed.weights
        return replace(mixed, weights=weights)
