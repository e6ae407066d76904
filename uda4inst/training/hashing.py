"""The hash of a configuration: it differs where results do, and stays when settings are added."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from uda4inst.training.schema import Config

# Settings that change neither weights nor results, only where and how often things are written.
UNHASHED: Final = (
    "run",
    "data.workers",
    # their content has a hash beside it
    "data.source.only",
    "data.target.only",
    "data.val.only",
    "data.source.class_map",
    "data.target.class_map",
    "data.val.class_map",
    "training.device",
    "training.rehearse_memory",
    "training.modules_at_once",
    "training.log_every",
    "training.tensorboard_every",
    "training.trackers",
    "training.snapshot_every",
    "training.snapshots_kept",
    "training.checkpoint_every",
    "training.checkpoints_kept",
    "training.heartbeat_seconds",
    "evaluation.every",
    "evaluation.stage1",
    "evaluation.networks",
)


# Settings that came later and are left out at their defaults, so that hashes stay what they were.
LATER: Final = (
    "training.inference_precision",
    "training.deterministic",
    "method.own_classes",
    "method.rare_weight",
    "method.confidence",
    "method.pool.riders",
    "method.pool.draw_chance",
    "method.pool.fade",
    "method.pool.max_overlap",
    "method.pool.colours",
    "method.pool.pseudo_labels",
    "model.deformable_kernel",
    "data.source_short_sides",
    "optim.algorithm",
    "optim.momentum",
    "data.source.only_hash",
    "data.target.only_hash",
    "data.val.only_hash",
    "data.source.class_map_hash",
    "data.target.class_map_hash",
    "data.val.class_map_hash",
    "data.rare_class_pixels",
    "data.max_class_share",
)


def hashed_values(config: Config) -> dict[str, Any]:
    """Return the settings that change results, nested as in the configuration.

    What is not used is left out: each method says what of its own settings that is.
    """
    values: dict[str, Any] = config.model_dump(mode="json")
    values["method"] = config.method.hashed()
    put_back(values)
    for name in UNHASHED:
        remove(values, name)
    remove_later_defaults(values, config)
    return values


def put_back(values: dict[str, Any]) -> None:
    """Set the folders of the data sets to those that the run began with, wherever they are now."""
    for ref in (values["data"][name] for name in ("source", "target", "val")):
        if (began := ref.pop("moved_from")) is not None:
            ref["root"] = began


def remove_later_defaults(values: dict[str, Any], config: Config) -> None:
    """Remove settings that came after the first hashes, where they have their defaults."""
    for name in LATER:
        *parents, last = name.split(".")
        part: Any = config
        for parent in parents:
            part = getattr(part, parent, None)
        # A method without the setting has nothing to leave out.
        fields = {} if part is None else type(part).model_fields
        if last in fields:
            default = fields[last].get_default(call_default_factory=True)
            if getattr(part, last) == default:
                remove(values, name)


def remove(values: dict[str, Any], name: str) -> None:
    """Remove a dotted name from nested values, if it is there."""
    *parents, last = name.split(".")
    part = values
    for parent in parents:
        part = part.get(parent, {})
    part.pop(last, None)


def config_hash(config: Config) -> str:
    """Return twelve hexadecimal digits that differ when anything that changes results does."""
    canonical = json.dumps(hashed_values(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
