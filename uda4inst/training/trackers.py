"""Trackers people have: wandb, MLflow and trackio, by `accelerate`'s own, beside `metrics.jsonl`.

They are told what TensorBoard is told. The run never depends on them: one that fails is told once
and left alone from then on. Where they send things is their own affair, set as they document it
(WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.metrics import flat_numbers
from uda4inst.training.config import Config, config_hash

log = logging.getLogger(__name__)

PROJECT: Final = "uda4inst"
# Steps between points where TensorBoard, whose rhythm they share, is off.
_EVERY: Final = 10


def require_trackers(names: Sequence[str]) -> None:
    """Raise unless the trackers of a new run are installed.

    Raises:
        UserError: one is not.
    """
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"training.trackers must be installed, got {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not. pip install {' '.join(missing)}, or "
            "leave them out."
        )


class Trackers:
    """The trackers of a run, on its first process.

    Args:
        config: of the run; `training.trackers` says which.
        run: its name is the trackers' name of it.
        step: the run begins or goes on at.
    """

    def __init__(self, config: Config, run: RunDir, *, step: int) -> None:
        self._every = config.training.tensorboard_every or _EVERY
        self._trackers: dict[str, GeneralTracker] = {}
        for name in config.training.trackers:
            try:
                self._trackers[name] = _started(name, config, run, step)
            except Exception as error:  # whatever a tracker, its server or its settings raise
                _give_up(name, error)

    def log(self, line: Mapping[str, Any]) -> None:
        """Tell all trackers the numbers of a line of metrics, every so many steps."""
        if not self._trackers or line["step"] % self._every:
            return
        numbers = flat_numbers(line)
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(numbers, step=line["step"])
            except Exception as error:
                _give_up(name, error)
                del self._trackers[name]

    def close(self) -> None:
        """End them; what they have not sent by now they send, or lose."""
        for name, tracker in self._trackers.items():
            try:
                tracker.finish()
            except Exception as error:
                _give_up(name, error)
        self._trackers = {}


def _started(name: str, config: Config, run: RunDir, step: int) -> GeneralTracker:
    """Return a tracker that was told the configuration."""
    shown = f"{run.name}, from step {step}" if step else run.name
    kind: Any = LOGGER_TYPE_TO_CLASS[name]
    settings: dict[str, Any] = (
        {"experiment_name": PROJECT, "run_name": shown}
        if name == "mlflow"
        else {"run_name": PROJECT, "name": shown}
    )
    tracker = kind(**settings)
    tracker.start()
    tracker.store_init_configuration(
        {"config_hash": config_hash(config), **_flat(config.model_dump(mode="json"))}
    )
    return tracker


def _give_up(name: str, error: Exception) -> None:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    log.warning(
        "tracker %s is left out from here on: %s. The run goes on; metrics.jsonl has everything.",
        name,
        first[:300],
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Return settings by dotted name, as trackers take them; what is not set is left out."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float):
            flat[prefix + name] = value
        elif value is not None:
            flat[prefix + name] = str(value)
    return flat
