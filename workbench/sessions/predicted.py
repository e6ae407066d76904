"""What runs have stored of their predictions, and which images these are of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from uda4inst.data.config import DatasetRef
from uda4inst.data.files.cache import fingerprint
from uda4inst.errors import UserError
from uda4inst.formats.predictions import ImagePredictions, read_predictions
from uda4inst.run_folder.evaluations import (
    evaluated_steps,
    predicting_networks,
    predictions_file,
    read_evaluation,
)
from uda4inst.run_folder.layout import RunDir, numbered
from uda4inst.tasks.base import Task
from uda4inst.training.config import Config, load_config
from workbench.sessions.request import JUDGED_SPLITS, DataRequest, Side
from workbench.sessions.seen.request import SeenRequest, run_title


class Judgeable(Protocol):
    """Predictions that a session can hold beside others, judged."""

    @property
    def path(self) -> Path:
        """Where they lie."""
        ...

    @property
    def title(self) -> str:
        """As people say it."""
        ...

    @property
    def field(self) -> str:
        """Their field in FiftyOne."""
        ...

    @property
    def key(self) -> str:
        """Their evaluation, or what begins the names of their scores."""
        ...

    @property
    def task(self) -> Task:
        """What they are of."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes they answer for; objects of others are no misses of theirs."""
        ...

    @property
    def score_threshold(self) -> float | None:
        """What a detection had to exceed to become a pseudo-label; None where there are none."""
        ...

    def fingerprint(self) -> str:
        """Return what changes with the files."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return where they come from, as JSON can hold it."""
        ...

    def detections(self) -> Iterator[ImagePredictions]:
        """Yield the detections of every image, of predicted instances."""
        ...


@dataclass(frozen=True, slots=True)
class Predicted:
    """Stored predictions of one network at one step.

    Args:
        run: whose.
        step: optimizer updates.
        network: student or teacher.
    """

    run: RunDir
    step: int
    network: str

    @property
    def path(self) -> Path:
        """The predictions file."""
        return predictions_file(self.run, self.step, self.network)

    @property
    def title(self) -> str:
        """As people say it."""
        return f"{run_title(self.run)} {self.network} {self.step}"

    @property
    def field(self) -> str:
        """Its field in FiftyOne."""
        return f"run_{_plain_name(self.run, self.step, self.network)}"

    @property
    def key(self) -> str:
        """Its evaluation by the Cityscapes protocol, or what begins the names of its scores."""
        return evaluation_key(self.run, self.step, self.network, task=self.task)

    @property
    def task(self) -> Task:
        """What it predicts."""
        return load_config(self.run.config).task

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that were learned: of a category group's network, those of the group."""
        return load_config(self.run.config).class_names

    @property
    def score_threshold(self) -> float | None:
        """What a detection had to exceed to become a pseudo-label; None where there are none."""
        return getattr(load_config(self.run.config).method, "score_threshold", None)

    def fingerprint(self) -> str:
        """Return what changes with the file."""
        return fingerprint([self.path], self.title, self.classes)

    def facts(self) -> dict[str, Any]:
        """Return run, step, network, and how many images its data set has, where that is known."""
        try:
            there = read_evaluation(self.run.evaluation_of(self.step)).images_there
        except UserError:
            there = None
        own = {"run": str(self.run.path), "step": self.step, "network": self.network}
        return own if there is None else {**own, "images_there": there}

    def detections(self) -> Iterator[ImagePredictions]:
        """Yield the stored detections of every image that was judged."""
        return read_predictions(self.path)


def evaluation_key(run: RunDir, step: int, network: str, *, task: Task) -> str:
    """Return what begins the names of the saved views of predictions, and names their evaluation.

    Args:
        run: whose.
        step: optimizer updates.
        network: student or teacher.
        task: of the run.
    """
    protocol = "iou" if task.predictions_kind == "label maps" else "ap"
    return f"{protocol}_{_plain_name(run, step, network)}"


def _plain_name(run: RunDir, step: int, network: str) -> str:
    """Return predictions as the name of a field can have them."""
    plain = re.sub(r"[^a-z0-9]+", "_", run_title(run).lower()).strip("_")
    return f"{plain}_{network}_{step}"


def find_predicted(
    runs: Sequence[RunDir], *, step: int | None = None, network: str | None = None
) -> list[Predicted]:
    """Return what runs have stored.

    Args:
        runs: of instances or of semantic segmentation.
        step: None for each run's last evaluated one.
        network: None for all that were judged.

    Raises:
        UserError: a run has no such predictions, or predicts what cannot be shown.
    """
    found: list[Predicted] = []
    for run in runs:
        known = evaluated_steps(run)
        chosen = step if step is not None else known[-1] if known else None
        networks = predicting_networks(run, chosen) if chosen is not None else []
        kept = [name for name in networks if network in (None, name)]
        if chosen is None or not kept:
            what = f"{network or 'predictions'} at step {chosen if chosen is not None else '-'}"
            raise UserError(
                f"RUN must have stored predictions, got none of {what} ({run.path}; evaluated: "
                f"{', '.join(map(str, known)) or 'never'}). Evaluate it: uda4inst evaluate "
                f"{run.path}{_of_training(run)}"
            )
        _require_kind(run)
        found += [Predicted(run, chosen, name) for name in kept]
    return found


def _require_kind(run: RunDir) -> None:
    """Raise where a run's predictions cannot be shown."""
    task = load_config(run.config).task
    if task.predictions_kind is None:
        raise UserError(
            f"RUN must predict detections or semantic maps to be shown judged, got {task.name} "
            f"({run.path}). Choose another run{_of_training(run)}"
        )


def _of_training(run: RunDir) -> str:
    """Return how to see what training saw, where it left that behind."""
    if not any(numbered(network.run.snapshots) for network in SeenRequest(run).networks()):
        return ""
    return f". What its training saw is there: uda4inst inspect run {run.path} --show training"


def request_of(
    predicted: Sequence[Predicted], *, images: Path | None = None, limit: int | None = None
) -> DataRequest:
    """Return the request for the images that runs are judged on.

    Args:
        predicted: at least one.
        images: a list of those to show; None for all.
        limit: so many images, spread evenly; None for all.

    Raises:
        UserError: they are judged on different images, or two of them cannot be told apart.
    """
    if len({one.field for one in predicted}) < len(predicted):
        raise UserError(
            "runs must have different names to stand in one session, got "
            f"{', '.join(str(one.run.path) for one in predicted)}. Rename a run folder."
        )
    configs: dict[str, Config] = {str(p.run.path): load_config(p.run.config) for p in predicted}
    refs = {name: config.data.val for name, config in configs.items()}
    first_name, first = next(iter(refs.items()))
    for name, ref in refs.items():
        if _without_place(ref) != _without_place(first) or (
            Path(ref.root).resolve() != Path(first.root).resolve()
        ):
            raise UserError(
                f"runs must be judged on the same images to stand in one session, got {first.root} "
                f"{first.split} ({first_name}) and {ref.root} {ref.split} ({name}). Open a session "
                "for each."
            )
    title = f"{first.format} {Path(first.root).resolve().name} {first.split}"
    if images is not None:
        title = f"{title}, {images.stem}"
        first = first.model_copy(update={"only": str(images), "only_hash": None})
    shown = first.split not in JUDGED_SPLITS  # whoever judges a run has its labels
    return DataRequest(title, (Side("target", first),), target_labels=shown, limit=limit)


def _without_place(ref: DatasetRef) -> DatasetRef:
    """Return which data set it is, wherever it lies and lay."""
    return ref.model_copy(update={"root": "", "moved_from": None})
