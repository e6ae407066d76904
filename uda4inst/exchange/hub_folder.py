"""A trained network in the hub's format: a folder that `transformers` loads by itself.

`config.json` has what the library needs and, under `uda4inst`, what this package needs to judge and
to use the network again; `README.md` is the model card (`model_card.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch

import uda4inst
from uda4inst.atomic import disk_errors, new_folder, write_synced
from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.data.config import DatasetRef
from uda4inst.data.stream.dataset import has_labels, open_dataset
from uda4inst.errors import UserError
from uda4inst.evaluation.inference import LONG_SIDE_MAX
from uda4inst.evaluation.scoring import ImagesDone
from uda4inst.exchange.model_card import Provenance, model_card
from uda4inst.models.library_form import image_processing, library_form, preset_of
from uda4inst.models.network import Network
from uda4inst.models.precision import Precision, inference_precision
from uda4inst.models.storage import save_tensors
from uda4inst.reading import parse_json, read_json
from uda4inst.run_folder.checkpoints import Checkpoint, open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.tasks import task_of
from uda4inst.tasks.base import Task, TrainedNetwork
from uda4inst.training.config import Config, config_hash, load_config
from uda4inst.training.groups.modules import modules_of
from uda4inst.training.validation import load_network

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
PROCESSOR: Final = "preprocessor_config.json"
CARD: Final = "README.md"
_KEY: Final = "uda4inst"  # of config.json
PRECISION: Final[Precision] = "tf32"  # in which a folder's network predicts, as runs do by default


@dataclass(frozen=True, slots=True)
class Facts:
    """What `config.json` says under `uda4inst`.

    Args:
        classes: names of those that the network answers for.
        short_side: pictures are resized to this shorter side first; None takes them as they are.
        network: "student" or "teacher".
        step: optimizer updates it has seen.
        config_hash: of its run's configuration.
        version: of this package.
    """

    classes: tuple[str, ...]
    short_side: int | None = None
    network: str = ""
    step: int = 0
    config_hash: str = ""
    version: str = ""


def export_run(
    run: RunDir,
    out: Path,
    *,
    network: str = "best",
    step: int | None = None,
    license_name: str = "apache-2.0",
) -> list[Path]:
    """Write a run's network as a folder in the hub's format; of category groups, a folder each.

    Args:
        run: the run.
        out: folder to make; a run of several modules gets a folder in it for each.
        network: "student", "teacher", or "best", which is the teacher where there is one.
        step: step of the checkpoint; None for the latest.
        license_name: what the card says, as the hub calls licences.

    Returns:
        The folders that `from_pretrained` takes.

    Raises:
        UserError: there is no such checkpoint or network, the library has no class of it, or the
            folder exists or cannot be written.
    """
    refuse_existing(out)
    with (
        disk_errors("OUT", out, then="call again, or choose another folder"),
        new_folder(out) as folder,
    ):
        if not run.is_grouped:
            _export_one(run, folder, network=network, step=step, license_name=license_name)
            return [out]
        modules = modules_of(run)
        for module in modules:
            (folder / module.name).mkdir()
            _export_one(
                module,
                folder / module.name,
                network=network,
                step=step,
                license_name=license_name,
            )
    return [out / module.name for module in modules]


def refuse_existing(out: Path, *, called: str = "OUT") -> None:
    """Raise where something has the name already.

    Args:
        out: to be made.
        called: what the message calls it.

    Raises:
        UserError: it has.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{called} must be new, got {out}, which exists. Choose another name.")


def _export_one(
    run: RunDir, folder: Path, *, network: str, step: int | None, license_name: str
) -> None:
    """Write the four files of one network into an existing folder."""
    config = load_config(run.config)
    checkpoint = open_checkpoint(run.checkpoints, step=step)
    name, trained = trained_network(config, checkpoint, network)
    facts = Facts(
        classes=config.class_names,
        short_side=config.evaluation.short_side,
        network=name,
        step=checkpoint.step,
        config_hash=config_hash(config),
        version=uda4inst.__version__,
    )
    write_network(trained, folder, facts=facts)
    provenance = Provenance(run, config, checkpoint, name, license_name=license_name)
    write_synced(folder / CARD, model_card(trained, provenance).encode())


def trained_network(config: Config, checkpoint: Checkpoint, wanted: str) -> tuple[str, Network]:
    """Return a checkpoint's network on the CPU, in evaluation mode, and its name.

    Args:
        config: of the run.
        checkpoint: of the run.
        wanted: "best" is the teacher where there is one.

    Raises:
        UserError: the checkpoint has no such network.
    """
    name = checkpoint.networks[-1] if wanted == "best" else wanted
    return name, load_network(config, checkpoint, name, torch.device("cpu"))


def write_network(network: Network, folder: Path, *, facts: Facts) -> None:
    """Write what `from_pretrained` and its image processor read into an existing folder.

    Args:
        network: a Mask2Former or a SegFormer.
        folder: where to.
        facts: for this package.

    Raises:
        UserError: the library has no class of it.
    """
    theirs = library_form(network)
    config = parse_json(theirs.config.to_json_string())
    config |= {"architectures": [type(theirs).__name__], _KEY: asdict(facts)}
    processing = image_processing(network, short_side=facts.short_side, long_side_max=LONG_SIDE_MAX)
    for file, value in ((CONFIG, config), (PROCESSOR, processing)):
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        write_synced(folder / file, text.encode())
    header = {"format": "pt"}  # without it the library refuses the file
    save_tensors(theirs.state_dict(), folder / WEIGHTS, header=header, dtype=torch.float32)


def is_hub_folder(path: Path) -> bool:
    """Tell whether a path is a folder in the hub's format; what is in it is not looked at."""
    return (path / CONFIG).is_file()


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A folder in the hub's format, whoever wrote it.

    Args:
        folder: where it lies.
        preset: which of ours its network is.
        facts: what it says for this package; all classes, and no more, where it says nothing.
        things: the classes of its head, where it predicts instances.
    """

    folder: Path
    preset: str
    facts: Facts
    things: ThingClasses = EIGHT

    @property
    def task(self) -> Task:
        """What its network predicts."""
        return task_of(self.preset, self.things)

    def load(self) -> TrainedNetwork:
        """Return the network, in evaluation mode, on a GPU if there is one.

        Raises:
            UserError: weights are missing or do not fit.
        """
        network, report = self.task.build_network(self.preset, weights=self.folder)
        if unfilled := (*report.reinitialised, *report.missing):
            raise UserError(
                f"{WEIGHTS} must hold the whole network, of {len(self.task.class_names)} classes, "
                f"got none that fit for {', '.join(unfilled[:5])} ({self.folder}). Such a folder "
                "is a start for training (model.weights) and predicts nothing yet."
            )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return TrainedNetwork(
            network.to(device).eval(),
            classes=self.facts.classes,
            device=device,
            short_side=self.facts.short_side,
        )

    def evaluate(
        self,
        ref: DatasetRef,
        *,
        protocols: Sequence[str] | None = None,
        progress: ImagesDone | None = None,
    ) -> dict[str, Any]:
        """Judge the network on labelled images.

        Args:
            ref: where they are.
            protocols: how; None for the task's own.
            progress: called after every image.

        Returns:
            What `uda4inst evaluate` prints of a run.

        Raises:
            UserError: weights do not fit, or images cannot be read.
        """
        labels = self.task.labels
        if not has_labels(ref, labels):
            raise UserError(
                f"--target must be a data set with {labels} labels, which {self.folder} is judged "
                f"by, got format {ref.format} ({ref.root}). Choose another --format."
            )
        dataset = open_dataset(ref, domain="target", labels=labels)
        if dataset.thing_classes.own not in ((), self.things.own):
            raise UserError(
                f"--class-map must name the classes of the head under own ("
                f"{', '.join(self.things.own) or 'none'}), got "
                f"{', '.join(dataset.thing_classes.own)} ({ref.class_map})."
            )
        trained = self.load()
        with inference_precision(PRECISION, trained.device):
            scores = self.task.evaluate(
                trained.network,
                dataset,
                device=trained.device,
                protocols=tuple(protocols or self.task.protocols),
                short_side=self.facts.short_side,
                classes=self.facts.classes,
                progress=progress,
            )
        facts = {"step": self.facts.step, "config_hash": self.facts.config_hash}
        where = {"dataset": f"{dataset.name} ({dataset.root})", "split": dataset.split}
        results = {self.facts.network or "network": scores}
        return {**facts, **where, "images": len(dataset), "results": results}


def open_exported(folder: Path) -> Exported:
    """Return what a folder in the hub's format says of itself.

    Raises:
        UserError: config.json cannot be read, or is of a network that is none of ours.
    """
    path = folder / CONFIG
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{CONFIG} must be readable JSON, got {error} ({path}). Export the run again."
        ) from error
    if not isinstance(config, dict):
        raise UserError(f"{CONFIG} must be an object, got {type(config).__name__} ({path}).")
    try:
        preset = preset_of(config)
        things = _things(config.get("id2label"))
        return Exported(folder, preset, _facts(config.get(_KEY), task_of(preset, things)), things)
    except UserError as error:
        raise UserError(f"{error} ({path})") from error


def _things(id2label: Any) -> ThingClasses:
    """Return the classes of a head: the eight and those behind them; the eight if it has others."""
    names = tuple(map(str, id2label.values())) if isinstance(id2label, Mapping) else ()
    is_ours = names[: len(EIGHT)] == EIGHT.names
    return ThingClasses.said(names[len(EIGHT) :]) if is_ours else EIGHT


def _facts(found: Any, task: Task) -> Facts:
    """Return what the entry of this package says.

    Raises:
        UserError: it does not fit.
    """
    if found is None:
        return Facts(task.class_names)
    known = {field.name for field in fields(Facts)}
    values = dict(found) if isinstance(found, Mapping) else {}
    classes, short_side = values.get("classes"), values.get("short_side")
    are_names = isinstance(classes, list) and all(name in task.class_names for name in classes)
    if not classes or not are_names:
        raise UserError(
            f"{_KEY}.classes must be of {', '.join(task.class_names)}, got {str(classes)[:200]}. "
            "Put it back, or export the run again."
        )
    if short_side is not None and (type(short_side) is not int or not 32 <= short_side <= 4096):
        raise UserError(
            f"{_KEY}.short_side must be null or from 32 to 4096, got {str(short_side)[:80]}. Put "
            "it back, or export the run again."
        )
    values["classes"] = tuple(classes)
    return Facts(**{name: value for name, value in values.items() if name in known})
