"""A made-up run of semantic segmentation, written as a trainer and an evaluation write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.formats.label_maps import writing_label_maps

STEP = 40


def write_semantic_run(root: Path, name: str, config: dict[str, Any], tree: Path) -> Path:
    """Write a run that takes every car for road, and is right elsewhere.

    Args:
        root: of the runs.
        name: of the run.
        config: of an instance run; the network and the method are replaced.
        tree: a Cityscapes tree.
    """
    run = root / name
    (run / "evaluation").mkdir(parents=True)
    config["model"] = {"preset": "mit_tiny"}
    config["method"] = {"name": "source_only"}
    config["data"]["val"] = {"format": "cityscapes", "root": str(tree), "split": "val"}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    scores, dataset = SemanticScores(), Cityscapes(tree, "val")
    stored = run / "evaluation" / "predictions" / f"{STEP:08d}" / "student.zip"
    with writing_label_maps(stored) as write:
        for index in range(len(dataset)):
            truth = dataset.read_semantic(index)
            predicted = np.where(truth == 13, np.uint8(0), truth)
            scores.add(truth, predicted)
            write(dataset.basename(index), predicted)
    record = {
        "step": STEP,
        "config_hash": "0123456789ab",
        "dataset": "Cityscapes",
        "split": "val",
        "images": len(dataset),
        "results": {"student": {"pixels": scores.to_json()}},
    }
    (run / "evaluation" / f"{STEP:08d}.json").write_text(json.dumps(record))
    return run
