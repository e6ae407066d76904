"""Pre-train the tiny networks on neutral ToyStreets: the package's stand-ins for published weights.

In the papers Mask2Former starts from COCO, and the networks for semantic maps start from backbones
trained on ImageNet. Nothing of that size fits in a package, so the tiny presets start from networks
trained here, on a third style with random palettes that is neither the source nor the target
domain: Mask2Former whole, of the others the backbone alone, one MiT and one ResNet. Results that
start from them are labelled so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader

from recipes.neutral import NeutralBatch, NeutralScenes, NeutralStream, PretrainRecipe, collate
from uda4inst.atomic import whole_file, write_json
from uda4inst.models.semantic.network import SemanticNetwork
from uda4inst.models.semantic.start import save_start
from uda4inst.models.storage import on_host, save_network
from uda4inst.structures import InstanceMap, SemanticMap
from uda4inst.tasks import task_of
from uda4inst.tasks.base import StudentView, Target
from uda4inst.training.optim import build_optimizer

log = logging.getLogger(__name__)


# Of both backbones; longer ones would be better, these are minutes of one busy core.
_BACKBONE: Final = PretrainRecipe(
    preset="mit_tiny",
    steps=2_000,
    clean_steps=500,
    small_steps=1_000,
    lr=2e-3,
    warmup_steps=100,
    clip_norm=1.0,
)
# What made the starts in the package. Both ResNet presets have the same ResNet, both MiT presets
# the same MiT; trained were the cheaper ones, the ResNet with its strides as ImageNet has it.
RECIPES: Final = {
    "tiny": PretrainRecipe(),
    "mit": _BACKBONE,
    "resnet": replace(
        _BACKBONE, preset="bisenet_tiny", steps=1_400, clean_steps=350, small_steps=700
    ),
}


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
    """Train a network from scratch on neutral scenes and write its weights to `out`.

    Of a network for semantic maps that is the backbone. Now and then the state is saved beside
    `out`; the same call goes on from there, with the same scenes and learning rates. The weights
    are written as float16 with the recipe as JSON.

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
        NeutralStream(recipe, training.step),
        batch_size=recipe.batch_size,
        num_workers=workers,
        collate_fn=collate,
    )
    started, recent = time.time(), []
    for batch in loader:
        recent = [*recent[-99:], training.update(batch)]
        if progress:
            progress(training.step, recipe.steps, recent[-1])
        if training.step % 100 == 0:
            mean = sum(recent) / len(recent)
            log.info("step %d/%d loss %.3f", training.step, recipe.steps, mean)
        if training.step % save_every == 0:
            training.save(partial)
    facts = {"recipe": asdict(recipe), "seconds": round(time.time() - started)}
    facts |= training.finish(out)
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
        self.task = task_of(recipe.preset)
        self.model, _ = self.task.build_network(recipe.preset, weights=None)
        self.model.to(device).train()
        self.loss = self.task.build_loss(num_points=recipe.num_points).to(device)
        self.optimizer = build_optimizer(
            self.model, lr=recipe.lr, weight_decay=recipe.weight_decay, backbone_lr_factor=1.0
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _learning_rate(step, recipe.steps, recipe.warmup_steps)
        )

    def update(self, batch: NeutralBatch) -> float:
        """Learn from one batch; return its loss."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        pixels = batch.images.to(self.device).permute(0, 3, 1, 2).float() / 255
        view = StudentView("neutral", 1.0, list(pixels), self._targets(batch))
        (parts,) = self.loss.parts([self.model(pixels)], [view])
        loss = torch.stack([part.weight * part.value for part in parts]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach())

    def _targets(self, batch: NeutralBatch) -> Sequence[Target]:
        """Return what the network should say, as its task has it."""
        if self.task.labels == "semantic":
            return [SemanticMap(classes.to(self.device)) for classes in batch.semantic]
        return [
            InstanceMap(ids=ids.to(self.device), labels=labels.to(self.device))
            for ids, labels in zip(batch.ids, batch.labels, strict=True)
        ]

    def finish(self, out: Path) -> dict[str, Any]:
        """Write the weights, and return what is known of them."""
        if not isinstance(self.model, SemanticNetwork):
            save_network(self.model, out, dtype=torch.float16)
            return {}
        save_start(self.model, out)
        recipe = self.recipe
        scenes = NeutralScenes(recipe.judged, size=recipe.size, seed=recipe.seed)
        protocol = self.task.protocols[0]
        scores = self.task.evaluate(self.model, scenes, device=self.device, protocols=[protocol])[
            protocol
        ]
        measured = {name: scores[name] for name in self.task.measures}
        return {"neutral_val": {"images": recipe.judged, "protocol": protocol, **measured}}

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
