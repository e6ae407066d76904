"""`evaluation/<step>.json` and the predictions beside it: results of one evaluated step each.

Numbers lie in [0, 1], None for classes without ground truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from uda4inst.atomic import write_json
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import Basis, read_basis, said
from uda4inst.reading import read_json
from uda4inst.run_folder.layout import RunDir

# Of detections, and of semantic maps.
_PREDICTIONS: Final = (".jsonl.gz", ".zip")
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One result file.

    Args:
        results: network -> protocol -> what the protocol reports, as it was written.
        step: optimizer updates the networks had seen.
        config_hash: of the run's configuration; empty where it does not say.
        dataset: name and root of the images.
        split: of the data set.
        images: how many; None where it does not say.
        images_there: how many the split has; None where it does not say.
        image_names: hash of the images' names; empty where it does not say.
        modules: configuration hash by category group, in the merged result of several.
    """

    results: Mapping[str, Mapping[str, Json]]
    step: int = 0
    config_hash: str = ""
    dataset: str = ""
    split: str = ""
    images: int | None = None
    images_there: int | None = None
    image_names: str = ""
    modules: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def basis(self) -> Basis:
        """The images that its scores were taken over."""
        return Basis(self.dataset, self.split, self.images, self.images_there, self.image_names)

    def said(self, network: str, protocol: str) -> str:
        """Return how a score was come by, as it stands beside it everywhere."""
        return said(self.basis, protocol=protocol, network=network, step=self.step)

    @property
    def networks(self) -> tuple[str, ...]:
        """Which networks were evaluated."""
        return tuple(self.results)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that it has numbers of, in the order in which they stand there."""
        reports = [report for by in self.results.values() for report in by.values()]
        found = [r.get("per_class") for r in reports if isinstance(r, dict)]
        return tuple(
            dict.fromkeys(str(n) for part in found if isinstance(part, dict) for n in part)
        )

    def value(
        self, network: str, protocol: str, metric: str, class_name: str | None = None
    ) -> float | None:
        """Return a number, of all classes together or of one; None where there is none."""
        found: object = self.results.get(network, {}).get(protocol)
        keys = (metric,) if class_name is None else ("per_class", class_name, metric)
        for key in keys:
            found = cast(Json, found).get(key) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) else None

    def has(self, network: str, protocol: str) -> bool:
        """Whether a network was judged by a protocol."""
        return protocol in self.results.get(network, {})


def write_evaluation(run: RunDir, record: Json) -> None:
    """Write a result file.

    Args:
        run: the run.
        record: has the fields of `Evaluation`, and a step and results in any case.
    """
    write_json(run.evaluation_of(cast(int, record["step"])), record)


def where_images_lie(run: RunDir) -> str:
    """Return how one says where the images of a run from elsewhere lie on this machine."""
    return (
        "Where the run comes from another machine, say where its images are on this one: "
        f"uda4inst evaluate {run.path} --target FOLDER"
    )


def evaluated_steps(run: RunDir) -> list[int]:
    """Return the steps with a result file, oldest first."""
    if not run.evaluation.is_dir():
        return []
    stems = (path.stem for path in run.evaluation.iterdir() if path.suffix == ".json")
    return sorted(int(stem) for stem in stems if len(stem) == 8 and stem.isdigit())


def last_evaluation(run: RunDir) -> Evaluation | None:
    """Return the newest result of a run; None before the first.

    Raises:
        UserError: the file is no evaluation.
    """
    steps = evaluated_steps(run)
    return read_evaluation(run.evaluation_of(steps[-1])) if steps else None


def read_evaluation(path: Path) -> Evaluation:
    """Return the content of a result file.

    Raises:
        UserError: it is missing or is not an evaluation.
    """
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"evaluation must be a readable JSON file, got {error} ({path}). "
            "Evaluate the run to write it."
        ) from error
    results = record.get("results") if isinstance(record, dict) else None
    if not isinstance(results, dict) or not all(isinstance(r, dict) for r in results.values()):
        raise UserError(f"evaluation must hold results, got none ({path}). Evaluate the run again.")
    step, modules, basis = record.get("step"), record.get("modules"), read_basis(record)
    return Evaluation(
        results=results,
        step=step if isinstance(step, int) else 0,
        config_hash=str(record.get("config_hash", "")),
        dataset=basis.dataset,
        split=basis.split,
        images=basis.images,
        images_there=basis.there,
        image_names=basis.names,
        modules={str(k): str(v) for k, v in modules.items()} if isinstance(modules, dict) else {},
    )


def predictions_file(run: RunDir, step: int, network: str) -> Path:
    """Return where the predictions of a network at a step lie, or detections would."""
    known = [run.predictions_of(step) / f"{network}{suffix}" for suffix in _PREDICTIONS]
    return next((path for path in known if path.exists()), known[0])


def predicting_networks(run: RunDir, step: int) -> list[str]:
    """Return which networks have stored predictions at a step, the teacher first."""
    folder = run.predictions_of(step)
    return sorted(
        (p.name.removesuffix(suffix) for suffix in _PREDICTIONS for p in folder.glob(f"*{suffix}")),
        reverse=True,
    )
