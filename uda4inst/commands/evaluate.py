"""`uda4inst evaluate`: a run's checkpoint judged, or predictions made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from uda4inst.commands.data_reports import (
    AnnotationsOption,
    ClassMapOption,
    options_of,
    require_root,
)
from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.data.tree import ImageTree
    from uda4inst.formats.image_list import ImageList
    from uda4inst.run_folder.layout import RunDir
    from uda4inst.tasks.base import Task

_DEFAULTS: Final = {"format": "cityscapes", "split": "val", "unnumbered": "ignore"}
# Keys that the basis of the scores says in words.
_OF_BASIS: Final = ("dataset", "split", "images", "images_there", "image_names")


def evaluate(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run folder, the name of a run under --root, or, with --target, a folder in the "
            "hub's format (uda4inst export)."
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of the checkpoint; default: the latest.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a run: a Cityscapes submission folder, COCO results JSON, or a run's "
            "predictions file (.jsonl.gz)."
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            help="Of predictions or a hub folder: the data set's folder. Of a run from another "
            "machine: where its images (data.val) lie now; its config.yaml keeps that."
        ),
    ] = None,
    target_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of predictions or a hub folder: the data set's format; default: cityscapes.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of predictions or a hub folder: its split; default: val."),
    ] = None,
    annotations: AnnotationsOption = None,
    class_map: ClassMapOption = None,
    unnumbered: Annotated[
        str | None,
        typer.Option(
            help="Thing pixels without a number (synthia): ignore (default), components or one."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Judge the images this file lists alone, one name a line; of a run of "
            "instances, by its stored predictions, and nothing is written."
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge instances by this protocol: cityscapes, coco or thing_pixels. Of a run: "
            "its stored predictions, and nothing is written. May be repeated."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON with all digits, shares in [0, 1].")
    ] = False,
) -> None:
    """Judge a run's checkpoint, or predictions made elsewhere, on labelled images.

    Printed in per cent, for all classes and each: AP at .50:.95 and at .50 by Cityscapes and COCO
    for instances, IoU and accuracy for semantic maps. A run's scores are kept in its folder.
    """
    from uda4inst.exchange.hub_folder import is_hub_folder

    if (run is None) == (predictions is None):
        raise UserError(
            "evaluate must be given a RUN, or --predictions with --target, got "
            f"{'neither' if run is None else 'both'}."
        )
    said = {
        "format": target_format, "split": split, "annotations": annotations,
        "class_map": class_map, "unnumbered": unnumbered,
    }  # fmt: skip
    given = {name: value for name, value in said.items() if value is not None}
    where = {**said, **_DEFAULTS, **given, "root": target}
    if predictions is not None:
        result, task = _of_predictions(predictions, where, images, protocol)
    elif is_hub_folder(Path(str(run))):
        result, task = _of_folder(Path(str(run)), {**where, "only": images}, step, protocol)
    else:
        _refuse_with_a_run(given)
        found = _find_run(str(run), root, target)
        if images or protocol:
            result, task = _of_stored(found, step, images, protocol)
        else:
            result, task = _of_run(found, step)
    if as_json:
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
    else:
        _print(result, task)


def _of_predictions(
    path: Path,
    where: Mapping[str, Any],
    images: Path | None,
    protocols: Sequence[str] | None,
) -> tuple[dict[str, Any], Task]:
    """Judge predictions made elsewhere."""
    from uda4inst.data.readers import truth_class
    from uda4inst.evaluation.scoring import PROTOCOLS, evaluate_predictions
    from uda4inst.formats.image_list import read_image_list
    from uda4inst.tasks.instances import INSTANCES

    only = None if images is None else read_image_list(images)
    if where["root"] is None:
        raise UserError("--target must name the data set the predictions are for, got none.")
    kind = truth_class(where["format"])
    require_root(where["root"])
    options = options_of(where["annotations"], where["unnumbered"], None, where["class_map"])
    truth = kind(where["root"], where["split"], options=options)
    judged = evaluate_predictions(path, truth, protocols=protocols or PROTOCOLS, only=only)
    return judged, INSTANCES


def _of_folder(
    folder: Path,
    where: Mapping[str, Any],
    step: int | None,
    protocols: Sequence[str] | None,
) -> tuple[dict[str, Any], Task]:
    """Judge the network in a folder in the hub's format; nothing is written."""
    from uda4inst.commands.terminal import counting
    from uda4inst.data.config import DatasetRef
    from uda4inst.data.readers import format_class
    from uda4inst.exchange.hub_folder import open_exported

    if where["root"] is None or step is not None:
        raise UserError(
            f"evaluate must be given --target, and no --step, with a folder of one network, got "
            f"{folder}. As in: uda4inst evaluate {folder} --target data/cityscapes"
        )
    format_class(where["format"])
    require_root(where["root"])
    texts = {key: str(value) for key, value in where.items() if value is not None}
    exported = open_exported(folder)
    with counting("loading") as show:
        found = exported.evaluate(
            DatasetRef.model_validate(texts),
            protocols=protocols,
            progress=lambda done, total: show(done, total, "images"),
        )
    return found, exported.task


def _refuse_with_a_run(given: Collection[str]) -> None:
    """Raise where a run is given what its own configuration says."""
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(
            f"evaluate must be given a RUN without what its config.yaml says, got {options}. "
            "Leave it out; --target alone says where the images lie now."
        )


def _find_run(name: str, root: Path, images: Path | None) -> RunDir:
    """Return a run whose images are there; where they lie now is kept in its configuration."""
    from uda4inst.run_folder.evaluations import where_images_lie
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training.config import load_config
    from uda4inst.training.places import move_run
    from uda4inst.training.validation import require_validation

    run = find_run(name, root=root)
    if images is None:
        place = Path(load_config(run.config).data.val.root)
        if not place.is_dir():
            raise UserError(
                f"data.val.root must be the folder that the run is judged on, got no such folder "
                f"({place}). {where_images_lie(run)}"
            )
        return run
    require_root(images)
    moved = [f"data.val.root={json.dumps(str(images))}"]
    require_validation(load_config(run.config, moved))
    move_run(run, moved)
    return run


def _of_run(run: RunDir, step: int | None) -> tuple[dict[str, Any], Task]:
    """Evaluate a checkpoint and write the result into the run folder."""
    from uda4inst.commands.terminal import counting
    from uda4inst.training.config import load_config
    from uda4inst.training.groups import category_groups

    with counting("loading") as show:
        found = category_groups.evaluate(
            run, step=step, progress=lambda network, done, total: show(done, total, network)
        )
    return found, load_config(run.config).task


def _of_stored(
    run: RunDir,
    step: int | None,
    images: Path | None,
    protocols: Sequence[str] | None,
) -> tuple[dict[str, Any], Task]:
    """Judge a run's stored predictions of some images or by some protocols; nothing is written."""
    from uda4inst.evaluation.basis import basis_json, basis_of
    from uda4inst.evaluation.scoring import evaluate_predictions
    from uda4inst.formats.image_list import read_image_list
    from uda4inst.run_folder.evaluations import (
        evaluated_steps,
        predicting_networks,
        predictions_file,
    )
    from uda4inst.tasks.instances import INSTANCES
    from uda4inst.training.config import load_config
    from uda4inst.training.validation import require_validation

    only = None if images is None else read_image_list(images)
    config = load_config(run.config)
    if config.task.name != INSTANCES.name:
        raise UserError(
            "evaluate --images and --protocol must be given a run of instances, got one of "
            f"{config.task.name} ({run.path}). Leave them out, or set data.val.only for a new run."
        )
    known = evaluated_steps(run)
    chosen = step if step is not None else known[-1] if known else None
    networks = [] if chosen is None else predicting_networks(run, chosen)
    if chosen is None or not networks:
        raise UserError(
            "evaluate --images and --protocol must be given a run with stored predictions, got "
            f"none of step {chosen} ({run.path}). Evaluate it first: uda4inst evaluate {run.path}"
        )
    dataset = require_validation(config)
    if only is None and config.evaluation.limit is not None:
        only = _first(dataset, config.evaluation.limit)
    results = {
        network: evaluate_predictions(
            predictions_file(run, chosen, network),
            dataset,
            protocols=protocols or config.evaluation.protocols,
            only=only,
            classes=config.class_names,
        )
        for network in networks
    }
    places = range(len(dataset)) if only is None else dataset.places(only)
    basis = basis_json(basis_of(dataset, places))
    return {"step": chosen, **basis, "results": results}, config.task


def _first(dataset: ImageTree, count: int) -> ImageList:
    """Return the images that an evaluation of the first so many judged."""
    from uda4inst.formats.image_list import ImageList

    names = (dataset.basename(index) for index in range(min(count, len(dataset))))
    return ImageList(tuple(sorted(names)))


def _print(result: Mapping[str, Any], task: Task) -> None:
    """Print a table for each network, and what it all rests on."""
    from uda4inst.evaluation.basis import read_basis

    basis = read_basis(result)
    of_step = "" if "step" not in result else f", step {result['step']:,}"
    for name, part in result.get("results", {"predictions": result}).items():
        _print_table(f"{name}{of_step}, {basis.count}", part, task)
    facts = {k: v for k, v in result.items() if not isinstance(v, Mapping) and k not in _OF_BASIS}
    typer.echo(", ".join([*(f"{k} {v}" for k, v in facts.items()), f"judged on {basis.words}"]))


def _print_table(name: str, result: Mapping[str, Any], task: Task) -> None:
    """Print one network's measures in per cent, classes in rows; `name` says all about it."""
    from rich.console import Console
    from rich.table import Table

    from uda4inst.tasks.base import measures_of

    protocols = [key for key, value in result.items() if isinstance(value, Mapping)]
    measures, of_class = zip(*(measures_of(task, p) for p in protocols), strict=True)
    table = Table("class", title=f"{name}, per cent")
    for protocol, (first, second) in zip(protocols, measures, strict=True):
        table.add_column(f"{protocol} {first}", justify="right")
        table.add_column(second, justify="right")
    table.add_row("all", *_cells([result[p] for p in protocols], measures))
    for label in result[protocols[0]]["per_class"]:
        values = [result[p]["per_class"][label] for p in protocols]
        table.add_row(label, *_cells(values, of_class))
    for key in task.class_sets:
        means = [_percent(result[p].get(key)) for p in protocols]
        table.add_row(key, *(cell for mean in means for cell in (mean, "")))
    Console().print(table)


def _cells(
    values: Sequence[Mapping[str, Any] | None], measures: Sequence[Sequence[str]]
) -> list[str]:
    """Return every protocol's measures of one row."""
    return [
        _percent(None if value is None else value[measure])
        for value, names in zip(values, measures, strict=True)
        for measure in names
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
