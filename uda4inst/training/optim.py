"""Optimizers and their learning rates: by default Mask2Former's recipe, restarted at each stage.

That is AdamW, the backbone at a tenth of the learning rate, gradients clipped over the whole model.
As in the authors' training script no weight decay acts on norms, embeddings (queries among them)
and Swin's relative position tables; biases do decay there, and so do ours. One departure: the pixel
decoder's level embedding, a bare parameter there that happens to decay, counts as an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from uda4inst.methods.updates import Algorithm
from uda4inst.models.network import Network

NORMS: Final = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
# Parameters that are embeddings or position tables without being in an nn.Embedding.
UNDECAYED_NAMES: Final = ("relative_position_bias_table", "position_embeddings", "level_embed")


def build_optimizer(
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    backbone_lr_factor: float = 1.0,
    algorithm: Algorithm = "adamw",
    momentum: float = 0.9,
    second_beta: float = 0.999,
) -> torch.optim.Optimizer:
    """Return an optimizer over the trainable parameters, in at most four groups.

    Each group carries `lr_factor` (its share of the learning rate) for `set_learning_rate`.

    Args:
        network: not wrapped for several processes.
        lr: learning rate of everything but the backbone.
        weight_decay: decay of the parameters that decay at all.
        backbone_lr_factor: learning rate of the backbone as a share of `lr`; without effect on what
            has no backbone, such as a discriminator.
        algorithm: which optimizer.
        momentum: of sgd and rmsprop; the first beta of adam and adamw.
        second_beta: of adam and adamw.
    """
    undecayed = undecayed_parameters(network)
    backbone = network.backbone_prefix if isinstance(network, Network) else None
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            in_backbone = backbone is not None and name.startswith(backbone)
            kind = (in_backbone, name in undecayed)
            groups.setdefault(kind, []).append(parameter)
    settings: list[dict[str, Any]] = []
    for (in_backbone, is_undecayed), parameters in sorted(groups.items(), key=lambda g: g[0]):
        factor = backbone_lr_factor if in_backbone else 1.0
        settings.append(
            {
                "params": parameters,
                "lr": lr * factor,
                "lr_factor": factor,
                "weight_decay": 0.0 if is_undecayed else weight_decay,
            }
        )
    betas = (momentum, second_beta)
    match algorithm:
        case "adamw":
            return torch.optim.AdamW(settings, betas=betas, fused=True)
        case "adam":
            return torch.optim.Adam(settings, betas=betas, fused=True)
        case "sgd":
            return torch.optim.SGD(settings, lr=lr, momentum=momentum, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(settings, momentum=momentum)


def undecayed_parameters(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that weight decay leaves alone."""
    return frozenset(_undecayed(model))


def _undecayed(model: nn.Module) -> Iterator[str]:
    for module_name, module in model.named_modules():
        prefix = f"{module_name}." if module_name else ""
        whole = isinstance(module, (*NORMS, nn.Embedding))
        for name, _ in module.named_parameters(recurse=False):
            if whole or name in UNDECAYED_NAMES:
                yield prefix + name


def learning_rate_share(
    step: int, *, steps: int, warmup_steps: int, warmup_start: float, power: float
) -> float:
    """Return the share of the full learning rate at a step of a stage.

    Poly decay over the whole stage, times a linear ramp over its first `warmup_steps`.

    Args:
        step: 0 .. steps - 1, counted from the start of the stage.
        steps: length of the stage.
        warmup_steps: length of the ramp; 0 for none.
        warmup_start: share at step 0 where there is a ramp.
        power: of the poly decay, 0.9 in Mask2Former's and DAFormer's schedules.

    Example:
        >>> share = dict(steps=10, warmup_steps=4, warmup_start=0.0, power=1.0)
        >>> [round(learning_rate_share(step, **share), 3) for step in (0, 2, 4, 9)]
        [0.0, 0.4, 0.6, 0.1]
    """
    ramp = 1.0
    if step < warmup_steps:
        ramp = warmup_start + (1 - warmup_start) * step / warmup_steps
    return ramp * (1 - step / steps) ** power


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take over what `state_dict` of such an optimizer returned.

    torch looks at the number of parameters alone and takes any numbers for theirs.

    Raises:
        ValueError: it is of other parameters, or holds numbers that are not finite.
    """
    try:
        wanted = [group["params"] for group in optimizer.state_dict()["param_groups"]]
        if [group["params"] for group in state["param_groups"]] != wanted:
            raise ValueError("other groups of parameters")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for number, facts in state["state"].items():
            for name, value in facts.items():
                if isinstance(value, Tensor):
                    _check_like(value, parameters[number], f"{name} of parameter {number}")
        optimizer.load_state_dict(dict(state))
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"no state of an optimizer ({type(error).__name__})") from error


def _check_like(value: Tensor, parameter: nn.Parameter, what: str) -> None:
    """Raise unless a tensor is a count, or has a number for each of a parameter's."""
    if value.ndim and value.shape != parameter.shape:
        raise ValueError(f"{what} of shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
    if not bool(value.isfinite().all()):
        raise ValueError(f"{what}, whose numbers are not finite")
