"""Crop, network and batch by what the images are and what the card has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.proposals.commented import Because, Values
from uda4inst.training.config import Config, check_config
from uda4inst.training.gpu import Card
from uda4inst.training.memory import wanted_gib

_LOOKED_AT: Final = 50  # images of a side whose header is read
_PAPER_SIDE: Final = 1024  # of the crops, pixels
_PAPER_BATCH: Final = 3
_PAPER_STEPS: Final = (10_000, 20_000)
_TOY_SIDE: Final = 128  # of ToyStreets, whose start a CPU trains on
_STRIDE: Final = 32  # the coarsest features of the networks
_PAPER_TENTHS: Final = tuple(range(10, 21))  # of the crop's side, what the shorter side may be
_TOY_TENTHS: Final = (10, 11, 12)
_PRESETS: Final = ("swin_l", "swin_b", "swin_s", "swin_t")
_LONGEST: Final = 16384  # that data.long_side_max may be
_DEMO: Final = "as in the preset toystreets_demo"
# For short stages of a small network on small crops.
_TOY_METHOD: Final[Values] = {
    "score_threshold": Because(0.8, f"For short stages, {_DEMO} (paper: 0.9)."),
    "ema_decay": Because(
        0.99, f"A short stage needs a teacher that follows faster, {_DEMO} (paper: 0.999)."
    ),
}
_TOY_POOL: Final[Values] = {
    "draw_share": Because(0.2, f"Half of the pool (paper) hides a small crop; {_DEMO}.")
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of some images.

    Args:
        looked_at: how many.
        smallest: (height, width) of the one with the shortest side.
        aspects: longer by shorter side, the least and the largest.
        narrowest: width by height of the one that is narrowest.
    """

    looked_at: int
    smallest: tuple[int, int]
    aspects: tuple[float, float]
    narrowest: float

    @classmethod
    def of(cls, dataset: ImageTree) -> Sizes:
        """Read the headers of images spread over a data set.

        Raises:
            UserError: one is no picture.
        """
        count = min(_LOOKED_AT, len(dataset))
        places = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
        sizes = [dataset.size_of(place) for place in places]
        aspects = [max(size) / min(size) for size in sizes]
        narrowest = min(width / height for height, width in sizes)
        return cls(count, min(sizes, key=min), (min(aspects), max(aspects)), narrowest)


@dataclass(frozen=True, slots=True)
class Crop:
    """How images are resized and cut.

    Args:
        size: (height, width) of a crop.
        short_sides: what the shorter side is resized to.
        long_side_max: what the longer one is held to: twice the side as in the paper, or more where
            the widest images would not keep the side.
    """

    size: tuple[int, int]
    short_sides: tuple[int, ...]
    long_side_max: int


def crop_of(source: Sizes, target: Sizes, *, card: Card | None, share: float = 1.0) -> Crop:
    """Return crops of the target's scale: square on a GPU, as the paper's; ToyStreets' on a CPU.

    Args:
        source: of the source images.
        target: of the target images.
        card: the GPU; None for a CPU.
        share: of the side that would be taken if memory allowed.
    """
    most = _PAPER_SIDE if card else _TOY_SIDE
    side = _whole(min(most, min(target.smallest)) * share)
    narrowest = min(source.narrowest, target.narrowest)
    width = side if card else min(2 * side, _whole(side * max(narrowest, 1)))
    tenths = _PAPER_TENTHS if card else _TOY_TENTHS
    short_sides = tuple(side * tenth // 10 for tenth in tenths)
    widest = max(source.aspects[1], target.aspects[1])
    needed = int(np.ceil((side if card else short_sides[-1]) * widest))
    return Crop((side, max(width, _STRIDE)), short_sides, min(max(2 * side, needed), _LONGEST))


def _whole(length: float) -> int:
    """Return a length as a multiple of the networks' stride, one at least."""
    return max(_STRIDE, int(length) // _STRIDE * _STRIDE)


@dataclass(frozen=True, slots=True)
class Scale:
    """What is trained, and how.

    Args:
        crop: of the images.
        values: of model, training, optim and evaluation.
        note: what it comes to, for people.
        method: settings of the method that go with it.
        pool: of its rare-class pool.
    """

    crop: Crop
    values: Values
    note: str
    method: Values = field(default_factory=dict)
    pool: Values = field(default_factory=dict)


def fit_scale(base: Mapping[str, Any], source: Sizes, target: Sizes, card: Card | None) -> Scale:
    """Return the largest of the paper's scales that a card holds; without one, ToyStreets'.

    Args:
        base: configuration without what is decided here: data sets and groups.
        source: of the source images.
        target: of the target images.
        card: the GPU; None for a CPU.

    Raises:
        UserError: the card is too small for any.
    """
    if card is None:
        crop = crop_of(source, target, card=None)
        note = "no GPU: ToyStreets' small network on small crops, to see whether everything works"
        return Scale(crop, _toy_values(crop), note, _TOY_METHOD, _TOY_POOL)
    for crop, values in _choices(source, target, card):
        config = _config(base, crop, values)
        wanted = None if config is None else wanted_gib(config)
        if wanted is not None and wanted <= card.gib:
            note = f"about {wanted:.0f} of {card.gib:.0f} GiB ({card.name}) by counting"
            return Scale(crop, _paper_values(values, crop, note), note)
    raise UserError(
        f"a GPU must hold one of the networks, got {card.gib:.1f} GiB ({card.name}), too little "
        "for any. Say --gpu-memory 0 to train on the CPU."
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    preset: str
    checkpointing: bool
    batch: int
    precision: str


def _choices(source: Sizes, target: Sizes, card: Card) -> Iterator[tuple[Crop, _Choice]]:
    """Yield what may be trained, the best first: the paper's crop and batch go before the size."""
    precision = "bf16" if card.has_bf16 else "fp32"
    for share in (1.0, 0.75, 0.5):
        crop = crop_of(source, target, card=card, share=share)
        for batch in range(_PAPER_BATCH, 0, -1):
            for preset in _PRESETS:
                for checkpointing in (False, True):
                    yield crop, _Choice(preset, checkpointing, batch, precision)


def _config(base: Mapping[str, Any], crop: Crop, choice: _Choice) -> Config | None:
    """Return the configuration of a choice, as far as memory depends on it; None if it is none."""
    values = {
        **base,
        "data": {**base["data"], "crop": crop.size},
        "model": {"preset": choice.preset, "gradient_checkpointing": choice.checkpointing},
        "training": {"batch_size": choice.batch, "precision": choice.precision},
    }
    try:
        return check_config(values, where="proposal")
    except UserError:
        return None


def _paper_values(choice: _Choice, crop: Crop, note: str) -> Values:
    preset = MODEL_PRESETS[choice.preset]
    steps = tuple(round(count * _PAPER_BATCH / choice.batch) for count in _PAPER_STEPS)
    seen = f"the paper's {_PAPER_STEPS[0]:,} + {_PAPER_STEPS[1]:,} steps of {_PAPER_BATCH} images"
    warm_up = round(1500 * _PAPER_BATCH / choice.batch)
    return {
        "model": {
            "preset": Because(choice.preset, f"The largest that fits: {note}."),
            "weights": Because(
                preset.checkpoint,
                "From COCO, as the paper's. Fetched from the Hugging Face hub at the first run; "
                "without a network, first: hf download.",
            ),
            "gradient_checkpointing": Because(
                choice.checkpointing, "Less memory for more time; on only where it must be."
            ),
        },
        "training": {
            "stage1_steps": Because(
                steps[0], f"As many images as in {seen}. Not tuned to your data."
            ),
            "stage2_steps": Because(steps[1], f"Of the method, after stage 1: as in {seen}."),
            "batch_size": Because(
                choice.batch, f"The paper's is {_PAPER_BATCH}; smaller where memory asks for it."
            ),
            "precision": Because(
                choice.precision,
                "bf16 on cards that can: less memory, faster. On others fp32.",
            ),
        },
        "optim": {"warmup_steps": Because(warm_up, "The paper's 1,500 of 10,000 steps.")},
        "evaluation": {
            "short_side": Because(
                crop.size[0], "Judged at the scale it was trained at; masks at the image's own."
            )
        },
    }


def _toy_values(crop: Crop) -> Values:
    return {
        "model": {
            "preset": Because("tiny", "Without a GPU: 3.7 M parameters, and no result to be had."),
            "weights": Because("toystreets", "In the package; trained on drawn scenes alone."),
            "num_points": Because(2048, f"Points of the mask losses: {_DEMO}."),
        },
        "training": {
            "stage1_steps": Because(200, f"Minutes on two cores: {_DEMO}."),
            "stage2_steps": Because(250, f"Of the method, after stage 1: {_DEMO}."),
            "batch_size": Because(4, f"Images of each side in a step: {_DEMO}."),
            "snapshot_every": Because(25, "What training sees, for the workbench's pages."),
            "checkpoint_every": Because(50, "What resume and the workbench go on from."),
        },
        "optim": {
            "lr": Because(2e-4, f"Learning rate and the rest of this part: {_DEMO}."),
            "backbone_lr_factor": Because(1.0, "The whole network learns at one rate."),
            "clip_norm": Because(0.1, "Largest norm of the gradient."),
            "warmup_steps": Because(30, "Of 200."),
        },
        "evaluation": {
            "short_side": Because(
                crop.size[0], "Judged at the scale it was trained at; masks at the image's own."
            ),
            "limit": Because(100, "A quick look, no result; null judges every image."),
        },
    }


def loader_processes(card: Card | None) -> Because:
    """Return how many processes load images."""
    if card is None:
        return Because(0, "Small images without a GPU are loaded between steps.")
    cores = os.cpu_count() or 1
    return Because(min(8, max(1, cores // 2)), f"Half of this machine's {cores} cores, 8 at most.")
