"""What runs predict, in the data set of the images they are judged on, judged there as well.

A run adds fields to a session of its validation images, so a second run, step or network reads no
picture again, and all of them stand side by side. What is there already is not written twice; other
predictions of the same name take the place of the former.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.data.files.cache import fingerprint
from uda4inst.errors import UserError
from uda4inst.formats.predictions import read_predictions
from uda4inst.run_folder.evaluations import evaluated_steps, predicting_networks, predictions_file
from uda4inst.run_folder.layout import RunDir, numbered
from uda4inst.tasks.instances import INSTANCES
from uda4inst.training.config import Config, load_config
from workbench.sessions import evaluation  # makes the methods known
from workbench.sessions.building import DataSession, Progress
from workbench.sessions.convert import to_predictions
from workbench.sessions.data_session import open_data_session, summary_of
from workbench.sessions.evaluation_views import (
    forget_evaluation,
    save_comparison_view,
    save_evaluation_views,
)
from workbench.sessions.library import fo
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.request import JUDGED_SPLITS, DataRequest, Side
from workbench.sessions.seen.request import SeenRequest

_AT_ONCE: Final = 64  # images whose detections are written together
_COMPARED: Final = 4  # at most so many are compared with each other: views grow with the square


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
        return f"{self.run.name} {self.network} {self.step}"

    @property
    def field(self) -> str:
        """Its field in FiftyOne."""
        plain = re.sub(r"[^a-z0-9]+", "_", self.run.name.lower()).strip("_")
        return f"run_{plain}_{self.network}_{self.step}"

    @property
    def key(self) -> str:
        """Its evaluation by the Cityscapes protocol."""
        return f"ap_{self.field.removeprefix('run_')}"

    def fingerprint(self) -> str:
        """Return what changes with the file."""
        return fingerprint([self.path], self.title)


def find_predicted(
    runs: Sequence[RunDir], *, step: int | None = None, network: str | None = None
) -> list[Predicted]:
    """Return what runs have stored.

    Args:
        runs: of instances.
        step: None for each run's last evaluated one.
        network: None for all that were judged.

    Raises:
        UserError: a run has no such predictions, or predicts semantic maps.
    """
    found: list[Predicted] = []
    for run in runs:
        _require_instances(run)
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
        found += [Predicted(run, chosen, name) for name in kept]
    return found


def _of_training(run: RunDir) -> str:
    """Return how to see what training saw, where it left that behind."""
    if not any(numbered(network.run.snapshots) for network in SeenRequest(run).networks()):
        return ""
    return f". What its training saw is there: uda4inst inspect run {run.path} --show training"


def _require_instances(run: RunDir) -> None:
    task = load_config(run.config).task
    if task is not INSTANCES:
        raise UserError(
            f"RUN must predict instances here, got one of {task.name} ({run.path}). Its label maps "
            "are shown by the Error maps page."
        )


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
        if ref.model_copy(update={"root": ""}) != first.model_copy(update={"root": ""}) or (
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


def open_run_session(
    predicted: Sequence[Predicted],
    *,
    images: Path | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> DataSession:
    """Return the session of the images with what was predicted on them, judged, and its views.

    Args:
        predicted: at least one.
        images: a list of those to show and judge; None for all.
        limit: so many images, spread evenly; None for all.
        fresh: build everything again.
        progress: called with (images done, images in all) while images are added.

    Raises:
        UserError: as `open_data_session`; or predictions cannot be read, or are of other images.
    """
    request = request_of(predicted, images=images, limit=limit)
    session = open_data_session(request, fresh=fresh, progress=progress)
    dataset = session.dataset
    kept: dict[str, Any] = dict(dataset.info.get("predicted", {}))
    for one in predicted:
        print_of_file = one.fingerprint()
        known = kept.get(one.field, {})
        if known.get("fingerprint") != print_of_file or one.key not in dataset.list_evaluations():
            kept.pop(one.field, None)
            _write_info(dataset, kept)  # half of it is not taken for the whole
            scores = _add(dataset, one)
            kept[one.field] = {
                "title": one.title,
                "run": str(one.run.path),
                "step": one.step,
                "network": one.network,
                "fingerprint": print_of_file,
                "scores": scores,
            }
            _write_info(dataset, kept)
    for first, second in _pairs(predicted):
        save_comparison_view(dataset, (first.title, first.key), (second.title, second.key))
    shown = {one.field: kept[one.field] for one in predicted}
    return DataSession(
        dataset, {**summary_of(dataset, built=bool(session.summary["built"])), "predicted": shown}
    )


def _pairs(predicted: Sequence[Predicted]) -> Iterator[tuple[Predicted, Predicted]]:
    """Yield every ordered pair of the first few."""
    few = predicted[:_COMPARED]
    yield from ((a, b) for a in few for b in few if a is not b)


def _write_info(dataset: fo.Dataset, kept: Mapping[str, Any]) -> None:
    dataset.info["predicted"] = dict(kept)
    dataset.save()


def _add(dataset: fo.Dataset, one: Predicted) -> dict[str, Any]:
    """Write the detections of all images that were judged, judge them, and save their views."""
    if one.key in dataset.list_evaluations():
        forget_evaluation(dataset, one.key)
    if dataset.has_sample_field(one.field):
        dataset.clear_sample_field(one.field)
    else:
        dataset.add_sample_field(
            one.field,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Detections,
            description=f"{one.title}: {one.path}",
        )
    ids = dict(zip(dataset.values("image_name"), dataset.values("id"), strict=True))
    batch: dict[str, fo.Detections] = {}
    strangers = 0
    for image in read_predictions(one.path):
        place = ids.get(image.sample_id)
        if place is None:
            strangers += 1
            continue
        batch[place] = to_predictions(image)
        if len(batch) == _AT_ONCE:
            dataset.set_values(one.field, batch, key_field="id")
            batch = {}
    if batch:
        dataset.set_values(one.field, batch, key_field="id")
    judged = dataset.exists(one.field)
    if not len(judged):
        raise UserError(
            f"predictions must be of the session's images, got {strangers} others ({one.path}). "
            "Evaluate the run again."
        )
    results: Any = judged.evaluate_detections(
        one.field, gt_field=GROUND_TRUTH, eval_key=one.key, method=evaluation.CITYSCAPES
    )
    save_evaluation_views(dataset, one.key)
    return {"images": len(judged), "protocol": "cityscapes", **results.scores}
