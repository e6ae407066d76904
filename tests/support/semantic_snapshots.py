"""Snapshots as semantic methods leave them, drawn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from uda4inst.data.stream.dataset import PairedDataset
from uda4inst.data.stream.items import ItemSemantic
from uda4inst.methods.base import Views
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.run_folder.snapshots import write_snapshot
from uda4inst.structures import Sample, SemanticMap, TargetSample
from uda4inst.training.config import load_config, to_yaml
from uda4inst.uda.class_mixing import mix_classes
from uda4inst.uda.pixel_labels import PixelLabels

ROAD, SKY, CAR, TRAIN = 0, 10, 13, 16
HEIGHT, WIDTH = 8, 16


def views(*, dropped: bool = False, domains: bool = False) -> Views:
    """One pair: the source shows a car on a road, the target is sky to the left for sure.

    Args:
        dropped: unsure pixels are not learned, instead of weighing a quarter.
        domains: a discriminator says .2 of every pixel.
    """
    ids = torch.full((HEIGHT, WIDTH), ROAD, dtype=torch.uint8)
    ids[2:6, 4:12] = CAR
    source = Sample(torch.full((3, HEIGHT, WIDTH), 0.5), "s0", "source", None, SemanticMap(ids))
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    target = TargetSample(torch.full((3, HEIGHT, WIDTH), 0.25), valid, "t0")
    best = torch.full((HEIGHT, WIDTH), SKY, dtype=torch.uint8)
    best[:, WIDTH // 2 :] = ROAD
    confidence = torch.full((HEIGHT, WIDTH), 0.99, dtype=torch.float16)
    confidence[:, WIDTH // 2 :] = 0.6
    if dropped:
        learned = SemanticMap(torch.where(confidence > 0.9, best, 255))
    else:
        learned = SemanticMap(best, torch.full((HEIGHT, WIDTH), 0.25))
    labels = PixelLabels(best, confidence, learned)
    mixed = mix_classes(target.image, learned, source.image, source.known_semantic(), ids == CAR)
    return Views(
        source=(source,),
        target=(target,),
        pixel_labels=(labels,),
        class_mixed={"s2t": (mixed,)},
        facts={"pixel_threshold": 0.9},
        shown={"domains": (torch.full((HEIGHT, WIDTH), 0.2),)} if domains else {},
    )


def write(run: Path, step: int, made: Views) -> None:
    """Write such a snapshot into a run."""
    write_snapshot(run / "snapshots", made, step=step, stage=2, method="dacs", kept=5)


def write_of_crop(run: RunDir, overrides: list[str], step: int, *, right: float) -> np.ndarray:
    """Write a run, and a snapshot of the crop that it would train on at a step.

    Args:
        run: where.
        overrides: of the smoke configuration.
        step: of the snapshot.
        right: share of columns, from the left, whose pseudo-labels are right for sure; those of
            the others are train, unsure.

    Returns:
        The true classes of the crop.
    """
    config = load_config("toystreets_semantic_smoke", overrides)
    create_run(run, config_yaml=to_yaml(config))
    draw, seed = step * config.training.batch_size, config.seed
    pair = PairedDataset(config.data, mode="pair", seed=seed, labels="semantic")
    oracle = PairedDataset(config.data, mode="labelled", seed=seed, labels="semantic")
    crop, labelled = pair.target_crop(draw).item, oracle[draw].labelled
    assert labelled is not None
    assert isinstance(labelled.labels, ItemSemantic)
    truth = labelled.labels.ids
    sure = torch.arange(truth.shape[1]).expand(truth.shape) < round(right * truth.shape[1])
    best = torch.where(sure & (truth != 255), truth, TRAIN).to(torch.uint8)
    confidence = torch.where(sure, 0.95, 0.4).half()
    image = crop.image.float() / 255
    made = Views(
        target=(TargetSample(image, crop.valid, crop.sample_id),),
        pixel_labels=(PixelLabels(best, confidence, SemanticMap(best)),),
        facts={"pixel_threshold": 0.9},
    )
    write_snapshot(run.snapshots, made, step=step, stage=2, method=config.method.name, kept=5)
    return truth.numpy()
