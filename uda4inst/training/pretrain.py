"""Pre-train the tiny network on neutral ToyStreets: the package's stand-in for COCO weights.

In the paper Mask2Former starts from COCO. Nothing of that size fits in a package, so the tiny
preset starts from a network trained here, on a third style with random palettes that is neither
the source nor the target domain. Results that start from it are labelled so.

The recipe is one pass over an endless stream of scenes: scene k of the stream is a function of
(seed, k), rendered in loader workers, mirrored at random. Evaluation draws from the neutral "val"
split, which the stream never touches.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uda4inst.data.toystreets import render_scene
from uda4inst.models.criterion import Criterion
from uda4inst.models.mask2former import Mask2Former, build_model, save_student
from uda4inst.structures import InstanceMap, Size
from uda4inst.training.optim import build_optimizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainRecipe:
    """What made a pre-trained start; written beside the weights.

    Args:
        steps: optimizer updates.
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

    steps: int = 7_000
    batch_size: int = 4
    size: Size = (128, 256)
    small_size: Size = (96, 192)
    small_steps: int = 4_000
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
        scene = render_scene(
            seed=recipe.seed,
            domain="neutral",
            split="train",
            index=index,
            size=recipe.small_size if small else recipe.size,
        )
        image, ids = scene.image, scene.ids
        if np.random.default_rng((recipe.seed, index)).random() < 0.5:
            image, ids = image[:, ::-1], ids[:, ::-1]
        return (
            torch.from_numpy(np.ascontiguousarray(image)),
            torch.from_numpy(np.ascontiguousarray(ids)).to(torch.int32),
            torch.from_numpy(scene.labels.astype(np.int64)),
        )


def _collate(
    items: list[tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    images = torch.stack([image for image, _, _ in items])
    return images, [ids for _, ids, _ in items], [labels for _, _, labels in items]


def _learning_rate(step: int, recipe: PretrainRecipe) -> float:
    """Share of the peak learning rate at a step."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * progress)))


def pretrain_toystreets(
    out: Path,
    *,
    recipe: PretrainRecipe | None = None,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
) -> Path:
    """Train the tiny preset from scratch on neutral scenes and write its weights to `out`.

    Every 1,000 steps the state is saved beside `out`; the same call goes on from there, with the
    same scenes and learning rates. The weights are written as float16 with the recipe as JSON.

    Args:
        out: path of the `.safetensors` file to write.
        recipe: defaults made the shipped start.
        workers: processes that render scenes.
        device: where to train.
        progress: called with (step, steps, loss) after each step.

    Returns:
        The path written.
    """
    recipe = recipe or PretrainRecipe()
    torch.manual_seed(recipe.seed)
    model, _ = build_model("tiny", weights=None)
    model.to(device).train()
    criterion = Criterion(num_points=recipe.num_points)
    optimizer = build_optimizer(
        model, lr=recipe.lr, weight_decay=recipe.weight_decay, backbone_lr_factor=1.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _learning_rate(s, recipe))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial.pt")
    start = _restore(partial, model, optimizer, schedule)
    loader = DataLoader(
        _NeutralStream(recipe, start),
        batch_size=recipe.batch_size,
        num_workers=workers,
        collate_fn=_collate,
    )
    started, recent = time.time(), []
    for step, (images, ids, labels) in enumerate(loader, start=start):
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        targets = [
            InstanceMap(ids=i.to(device), labels=n.to(device))
            for i, n in zip(ids, labels, strict=True)
        ]
        pixels = images.to(device).permute(0, 3, 1, 2).float() / 255
        loss = criterion(model(pixels), targets).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
        recent = [*recent[-99:], float(loss.detach())]
        if progress:
            progress(step + 1, recipe.steps, recent[-1])
        if (step + 1) % 100 == 0:
            log.info("step %d/%d loss %.3f", step + 1, recipe.steps, sum(recent) / len(recent))
        if (step + 1) % 1000 == 0:
            _save_partial(partial, step + 1, model, optimizer, schedule)
    save_student(model, out, dtype=torch.float16)
    facts = {"recipe": asdict(recipe), "seconds": round(time.time() - started), "loss": recent[-1]}
    out.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    partial.unlink(missing_ok=True)
    return out


def _save_partial(
    path: Path,
    step: int,
    model: Mask2Former,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> None:
    """Write the training state in one rename."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.rename(path)


def _restore(
    path: Path,
    model: Mask2Former,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> int:
    """Load a partial state if there is one; return the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["step"])
