"""Pre-train the tiny network on neutral ToyStreets: the package's stand-in for COCO weights.

In the paper Mask2Former starts from COCO. Nothing of that size fits in a package, so the tiny
preset starts from a network trained here, on a third style with random palettes that is neither
the source nor the target domain. Results that start from it are labelled so.

The recipe is one pass over an endless stream of scenes: scene k of the stream is a function of
(seed, k), rendered in loader workers, mirrored at random. First come clean scenes, then scenes with
the faults and the litter of photographs, each drawn on its own, since a network that has only seen
flat paint breaks at the first grain of noise, and the networks it stands in for have seen
photographs. Evaluation draws from the neutral "val" split, which the stream never touches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uda4inst.atomic import whole_file, write_json
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.storage import on_host, save_network
from uda4inst.structures import InstanceMap, Size
from uda4inst.toystreets import render_scene, styles
from uda4inst.training.optim import build_optimizer

log = logging.getLogger(__name__)

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
    """

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


class _NeutralStream(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Scene k of the pre-training stream: image uint8 (H, W, 3), ids int32, labels int64."""

    def __init__(self, recipe: PretrainRecipe, start: int = 0) -> None:
        self.recipe = recipe
        self.start = start * recipe.batch_size

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size - self.start

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
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
        image, ids = scene.image, scene.ids
        if mirrored:
            image, ids = image[:, ::-1], ids[:, ::-1]
        if photographed:
            image = degrade(image, rng)
        return (
            torch.from_numpy(np.ascontiguousarray(image)),
            torch.from_numpy(np.ascontiguousarray(ids)).to(torch.int32),
            torch.from_numpy(scene.labels.astype(np.int64)),
        )


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


def _collate(
    items: list[tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    images = torch.stack([image for image, _, _ in items])
    return images, [ids for _, ids, _ in items], [labels for _, _, labels in items]


def _learning_rate(step: int, steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at a step of a phase."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * progress)))


def pretrain_toystreets(
    out: Path,
    *,
    recipe: PretrainRecipe | None = None,
    workers: int = 1,
    device: str = "cpu",
    save_every: int = 500,
    progress: Callable[[int, int, float], None] | None = None,
) -> Path:
    """Train the tiny preset from scratch on neutral scenes and write its weights to `out`.

    Now and then the state is saved beside `out`; the same call goes on from there, with the same
    scenes and learning rates. The weights are written as float16 with the recipe as JSON.

    Args:
        out: path of the `.safetensors` file to write.
        recipe: defaults made the shipped start.
        workers: processes that render scenes.
        device: where to train.
        save_every: steps between saved states.
        progress: called with (step, steps, loss) after each step.

    Returns:
        The path written.
    """
    recipe = recipe or PretrainRecipe()
    out.parent.mkdir(parents=True, exist_ok=True)
    training = _Pretraining(recipe, device=device)
    partial = out.with_suffix(".partial.pt")
    training.restore(partial)
    loader = DataLoader(
        _NeutralStream(recipe, training.step),
        batch_size=recipe.batch_size,
        num_workers=workers,
        collate_fn=_collate,
    )
    started, recent = time.time(), []
    for images, ids, labels in loader:
        recent = [*recent[-99:], training.update(images, ids, labels)]
        if progress:
            progress(training.step, recipe.steps, recent[-1])
        if training.step % 100 == 0:
            mean = sum(recent) / len(recent)
            log.info("step %d/%d loss %.3f", training.step, recipe.steps, mean)
        if training.step % save_every == 0:
            training.save(partial)
    save_network(training.model, out, dtype=torch.float16)
    facts = {"recipe": asdict(recipe), "seconds": round(time.time() - started)}
    write_json(out.with_suffix(".json"), facts)
    partial.unlink(missing_ok=True)
    return out


class _Pretraining:
    """The network in training: one update at a time, saved and restored whole."""

    def __init__(self, recipe: PretrainRecipe, *, device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.step = 0
        self.model, _ = build_model("tiny", weights=None)
        self.model.to(device).train()
        self.criterion = Criterion(num_points=recipe.num_points).to(device)
        self.optimizer = build_optimizer(
            self.model, lr=recipe.lr, weight_decay=recipe.weight_decay, backbone_lr_factor=1.0
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _learning_rate(step, recipe.steps, recipe.warmup_steps)
        )

    def update(self, images: Tensor, ids: list[Tensor], labels: list[Tensor]) -> float:
        """Learn from one batch; return its loss."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        targets = [
            InstanceMap(ids=i.to(self.device), labels=n.to(self.device))
            for i, n in zip(ids, labels, strict=True)
        ]
        pixels = images.to(self.device).permute(0, 3, 1, 2).float() / 255
        loss = self.criterion(self.model(pixels), targets).total
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with whole_file(path) as temporary:
            torch.save(on_host(state), temporary)

    def restore(self, path: Path) -> None:
        """Go on from a saved state if there is one."""
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = int(state["step"])
