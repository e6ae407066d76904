"""Class mixing (ClassMix, DACS): half of a source image's classes, pasted into the target image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float32, UInt8
from pydantic import Field
from torch import Tensor

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.ops.jitter import StrongView
from uda4inst.settings import Settings
from uda4inst.structures import Sample, SemanticMap, TargetSample
from uda4inst.uda.mixing import Origin
from uda4inst.uda.pixel_labels import PixelLabels
from uda4inst.uda.randomness import drawn_for, step_generator

_CLASSES: Final = len(SEMANTIC_CLASSES)


class StrongViewConfig(Settings):
    """What is done to an image's colours and sharpness, its geometry kept."""

    jitter_strength: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description="Of the colour jitter: brightness, contrast and saturation by so much, hue by "
        "this share of the circle (DAFormer: 0.2, DACS: 0.25).",
    )
    jitter_chance: float = Field(
        default=0.8, ge=0, le=1, description="How often colours are jittered."
    )
    blur_chance: float = Field(
        default=0.5, ge=0, le=1, description="How often the image is blurred."
    )
    gray_chance: float = Field(
        default=0.0, ge=0, le=1, description="How often colours are taken off (EHTDI: 0.2)."
    )

    def draw(self, generator: torch.Generator) -> StrongView:
        """Draw a view; see `StrongView.draw`."""
        return StrongView.draw(
            strength=self.jitter_strength,
            jitter_chance=self.jitter_chance,
            blur_chance=self.blur_chance,
            gray_chance=self.gray_chance,
            generator=generator,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ClassMixed:
    """An image mixed of two, with the class of every pixel.

    Args:
        image: RGB in [0, 1].
        semantic: the class of every pixel and how much it counts.
        origin: an `Origin` per pixel: of the base, the source or the pseudo-labelled target.
    """

    image: Float32[Tensor, "3 H W"]
    semantic: SemanticMap
    origin: UInt8[Tensor, "H W"]


class ClassMixer:
    """Mixes the pairs of a batch.

    Args:
        config: the strong view.
        seed: the run's seed.
        rank: index of the process.
    """

    def __init__(self, config: StrongViewConfig, *, seed: int, rank: int) -> None:
        self.config = config
        self.seed = seed
        self.rank = rank

    def __call__(
        self,
        source: Sequence[Sample],
        target: Sequence[TargetSample],
        labels: Sequence[PixelLabels],
        *,
        step: int,
    ) -> tuple[ClassMixed, ...]:
        """Paste half of each source crop's classes into its target crop, and change its colours.

        What is drawn follows from (seed, rank, step); nothing is read back from the device.

        Args:
            source: with semantic maps.
            target: as many crops.
            labels: what is learned of each target crop.
            step: the run's.
        """
        generator = step_generator(seed=self.seed, rank=self.rank, step=step)
        mixed: list[ClassMixed] = []
        for crop, below, known in zip(source, target, labels, strict=True):
            semantic = crop.known_semantic()
            order = drawn_for(crop.image.device, torch.rand(_CLASSES, generator=generator))
            chosen = half_of_the_classes(semantic.ids, order)
            view = self.config.draw(generator)
            pair = mix_classes(below.image, known.learned, crop.image, semantic, chosen)
            mixed.append(replace(pair, image=view.apply(pair.image)))
        return tuple(mixed)


def half_of_the_classes(
    ids: UInt8[Tensor, "H W"],
    order: Float32[Tensor, " 19"],
    *,
    from_train_id: int = 0,
    rounded: Literal["up", "down"] = "up",
) -> Bool[Tensor, "H W"]:
    """Return the pixels of half of an image's classes.

    Ignored pixels are no class. Nothing is read back from the device.

    Args:
        ids: trainIds, 255 ignore.
        order: a random number in [0, 1) a class, on the device of `ids`; the present classes of the
            lowest are chosen.
        from_train_id: classes before this one are not chosen, nor counted.
        rounded: whether ceil(n / 2) of n are chosen, or floor(n / 2) and at least one.

    Reference: Olsson et al., ClassMix, WACV 2021, algorithm 1.
    """
    flat = ids.reshape(-1).long()
    present = torch.zeros(IGNORE_TRAIN_ID + 1, dtype=torch.bool, device=ids.device)
    present = present.scatter(0, flat, True)[:_CLASSES]
    present[:from_train_id] = False
    keys = torch.where(present, order, 2.0)  # behind every present class
    place = keys.argsort(stable=True).argsort()
    count = present.sum()
    half = (count + 1) // 2 if rounded == "up" else (count // 2).clamp(min=1)
    wanted = torch.minimum(half, count)
    chosen = torch.zeros(IGNORE_TRAIN_ID + 1, dtype=torch.bool, device=ids.device)
    chosen[:_CLASSES] = place < wanted
    return chosen[ids.long()]


def mix_classes(
    base_image: Float32[Tensor, "3 H W"],
    base: SemanticMap,
    pasted_image: Float32[Tensor, "3 H W"],
    pasted: SemanticMap,
    where: Bool[Tensor, "H W"],
    *,
    origin: Origin = Origin.SOURCE_INSTANCE,
) -> ClassMixed:
    """Paste pixels of one image, with their classes, over another; inputs are left untouched.

    Args:
        base_image: the image below.
        base: its classes and weights.
        pasted_image: the image above, same size.
        pasted: its classes and weights.
        where: what is pasted.
        origin: what the pasted pixels are.
    """
    ones = torch.ones_like(base_image[0])
    above, below = (ones if m.weights is None else m.weights for m in (pasted, base))
    return ClassMixed(
        image=torch.where(where, pasted_image, base_image),
        semantic=SemanticMap(
            torch.where(where, pasted.ids, base.ids), torch.where(where, above, below)
        ),
        origin=where.to(torch.uint8) * int(origin),
    )
