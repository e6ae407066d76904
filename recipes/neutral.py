"""Scenes of the third style, neither source nor target: what the starts are trained and judged on.

Scene k of the stream is a function of (seed, k), mirrored at random. First come clean scenes, then
scenes with the faults and the litter of photographs, each drawn on its own, since a network that
has only seen flat paint breaks at the first grain of noise, and the networks it stands in for have
seen photographs. The neutral "val" split is of other scenes, which the stream never touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from uda4inst.structures import Size
from uda4inst.toystreets import render_scene, styles
from uda4inst.toystreets.render import Scene

# What a photograph has whatever its colours and its camera: the rest of the shift is not seen here.
PARTS: Final = (
    styles.ROUNDING,
    styles.CLUTTER,
    styles.CONTACT_SHADOWS,
    styles.SHADING,
    styles.OBJECT_TEXTURE,
    styles.BACKGROUND_TEXTURE,
    styles.LIGHTING,
)


@dataclass(frozen=True)
class PretrainRecipe:
    """What made a pre-trained start; written beside the weights.

    Args:
        preset: the network; of one for semantic maps the backbone alone is kept.
        steps: optimizer updates.
        clean_steps: the first so many see clean scenes, all others photographed ones.
        part_share: chance of each of `PARTS` in a photographed scene.
        batch_size: scenes an update.
        size: (height, width) of the scenes.
        small_size: size of the first scenes: cheaper steps, and objects at another scale.
        small_steps: how many steps see small scenes.
        lr: peak learning rate, the same for all parts (nothing is pre-trained yet).
        warmup_steps: linear warm-up, then a cosine to 1 % of the peak.
        clip_norm: gradient norm bound over all parameters.
        num_points: points of the mask losses; 128x256 scenes have 2,048 mask logits.
        seed: of weights, scenes and points.
        judged: clean scenes of the neutral "val" split that a network for semantic maps is judged
            on in the end, before its head goes.
    """

    preset: str = "tiny"
    steps: int = 14_000
    clean_steps: int = 3_000
    part_share: float = 0.4
    batch_size: int = 4
    size: Size = (128, 256)
    small_size: Size = (96, 192)
    small_steps: int = 6_000
    lr: float = 5e-4
    warmup_steps: int = 300
    weight_decay: float = 0.05
    clip_norm: float = 0.1
    num_points: int = 2048
    seed: int = 0
    judged: int = 100


@dataclass(frozen=True)
class NeutralBatch:
    """Scenes of one step.

    Args:
        images: uint8 (B, H, W, 3).
        ids: int32 (H, W) a scene: its instances.
        labels: int64 (N,) a scene: their thing indices.
        semantic: uint8 (H, W) a scene: trainIds, 255 ignore.
    """

    images: Tensor
    ids: list[Tensor]
    labels: list[Tensor]
    semantic: list[Tensor]


_Item = tuple[Tensor, Tensor, Tensor, Tensor]


class NeutralStream(Dataset[_Item]):
    """The scenes of a pre-training, one after another."""

    def __init__(self, recipe: PretrainRecipe, start: int = 0) -> None:
        self.recipe = recipe
        self.start = start * recipe.batch_size

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size - self.start

    def __getitem__(self, index: int) -> _Item:
        index += self.start
        recipe = self.recipe
        small = index < recipe.small_steps * recipe.batch_size
        photographed = index >= recipe.clean_steps * recipe.batch_size
        rng = np.random.default_rng((recipe.seed, index))
        mirrored, drawn = rng.random() < 0.5, rng.random(len(PARTS)) < recipe.part_share
        scene = render_scene(
            seed=recipe.seed,
            domain="neutral",
            split="train",
            index=index,
            size=recipe.small_size if small else recipe.size,
            parts=frozenset(np.array(PARTS)[drawn].tolist()) if photographed else None,
        )
        image, ids, semantic = scene.image, scene.ids, scene.semantic
        if mirrored:
            image, ids, semantic = image[:, ::-1], ids[:, ::-1], semantic[:, ::-1]
        if photographed:
            image = degrade(image, rng)
        return (
            torch.from_numpy(np.ascontiguousarray(image)),
            torch.from_numpy(np.ascontiguousarray(ids)).to(torch.int32),
            torch.from_numpy(scene.labels.astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(semantic)),
        )


def collate(items: list[_Item]) -> NeutralBatch:
    """Return scenes as one batch."""
    images, ids, labels, semantic = zip(*items, strict=True)
    return NeutralBatch(torch.stack(images), list(ids), list(labels), list(semantic))


class NeutralScenes:
    """Clean scenes of the "val" split, as evaluation reads a data set.

    Args:
        count: how many.
        size: (height, width).
        seed: what they are drawn from.
    """

    def __init__(self, count: int, *, size: Size, seed: int) -> None:
        self.count, self.size, self.seed = count, size, seed

    def __len__(self) -> int:
        return self.count

    def _scene(self, index: int) -> Scene:
        return render_scene(
            seed=self.seed, domain="neutral", split="val", index=index, size=self.size
        )

    def basename(self, index: int) -> str:
        """Return the scene's name."""
        return f"neutral_val_{index:06d}"

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """Return the picture, RGB, (H, W, 3)."""
        return self._scene(index).image

    def read_instance_ids(self, index: int) -> NDArray[np.int32]:
        """Raise: the scenes are here for their classes."""
        raise NotImplementedError(f"instances of scene {index}")

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        """Return trainIds, 255 ignore, (H, W)."""
        return self._scene(index).semantic


def degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with the faults of a photograph, each drawn on its own.

    Uneven brightness (smooth patches, up to 10 grey levels), blur (sigma up to 0.8 pixels), grain
    (up to 6 grey levels), JPEG (quality 60 to 95); each with probability one half.
    """
    height, width = image.shape[:2]
    picture: NDArray[Any] = image.astype(np.float32)
    if rng.random() < 0.5:
        cells = int(rng.integers(4, 33))
        patches = rng.normal(0.0, rng.uniform(0, 10), (cells, 2 * cells)).astype(np.float32)
        smooth = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += smooth[..., None]
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(np.asarray(picture), (0, 0), float(rng.uniform(0.2, 0.8)))
    if rng.random() < 0.5:
        picture = picture + rng.normal(0.0, rng.uniform(0, 6), picture.shape).astype(np.float32)
    degraded = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        _, packed = cv2.imencode(".jpg", degraded, quality)
        degraded = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)
    return degraded
