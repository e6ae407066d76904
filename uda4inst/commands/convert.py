"""`uda4inst convert`: Mask2Former checkpoints of detectron2 to ours, and ours to detectron2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.models.mask2former.network import Mask2Former


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A .pkl or .pth of detectron2's Mask2Former; or, for the way back, a run, a "
            ".safetensors file of one, or a folder in the format of transformers."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="The folder to make; for the way back a .pkl or .pth file.")
    ],
    preset: Annotated[
        str | None,
        typer.Option(help="What a .pkl or .pth must hold; default: the preset that fits."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of the classes of a head that is neither COCO's nor Cityscapes', "
            "separated by commas."
        ),
    ] = None,
    network: Annotated[
        Literal["best", "student", "teacher"],
        typer.Option(help="Of a run; best is the teacher where there is one."),
    ] = "best",
    step: Annotated[
        int | None,
        typer.Option(min=0, help="Step of a run's checkpoint; default: the latest."),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Turn a model-zoo checkpoint into weights that model.weights takes, or ours into such a one.

    Nothing of detectron2 is needed, and nothing in a file is run.
    """
    from uda4inst.exchange.model_zoo import ZOO_SUFFIXES, write_zoo

    path = Path(source)
    if path.suffix in ZOO_SUFFIXES or (path.is_file() and path.suffix != ".safetensors"):
        _to_ours(path, out, preset, classes)
        return
    if preset is not None or classes is not None:
        raise UserError(
            "--preset and --classes are about a .pkl or .pth of detectron2, got them for "
            f"{source}. Leave them out."
        )
    if out.suffix not in ZOO_SUFFIXES:
        raise UserError(
            f"OUT must end in {' or '.join(ZOO_SUFFIXES)} where SOURCE is ours, got {out}."
        )
    _require_free(out)
    model = _own_network(source, network, step, root)
    count = write_zoo(model, out)
    typer.echo(f"{model.preset.name}, {model.num_classes} classes: {count} tensors in {out}")
    typer.echo("In detectron2: MODEL.WEIGHTS, beside the configuration of that size.")


def _to_ours(path: Path, out: Path, preset: str | None, classes: str | None) -> None:
    """Write the folder of a checkpoint of the model zoo."""
    from uda4inst.exchange.class_names import head_in_words, names_of
    from uda4inst.exchange.model_zoo import load_zoo
    from uda4inst.models.library_form import write_library_folder

    _require_free(out)
    model = load_zoo(path, preset=preset)
    given = None if classes is None else [name.strip() for name in classes.split(",")]
    names = names_of(model.num_classes, given)
    write_library_folder(model, out, names)
    count = len(model.network.state_dict())
    typer.echo(f"{model.preset.name}: {count} tensors in {out}, {head_in_words(names)}")
    typer.echo(f"To train: model.preset={model.preset.name} model.weights={out}")


def _require_free(out: Path) -> None:
    """Raise if there is something of that name; make the folders above it."""
    from uda4inst.exchange.hub_folder import refuse_existing

    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)


def _own_network(source: str, network: str, step: int | None, root: Path) -> Mask2Former:
    """Return a network of ours: of a file, a folder in the library's format, or a run.

    Raises:
        UserError: there is none, or it is no Mask2Former.
    """
    from uda4inst.models.library_form import preset_of_folder
    from uda4inst.models.mask2former.network import build_model
    from uda4inst.models.mask2former.presets import MODEL_PRESETS
    from uda4inst.models.storage import read_tensors

    path = Path(source)
    if path.suffix == ".safetensors":
        header, _ = read_tensors(path)
        name, classes = header.get("preset", ""), int(header.get("num_classes", 0))
        if name not in MODEL_PRESETS:
            raise UserError(f"SOURCE must be a Mask2Former of ours, got {name or 'none'} ({path}).")
        return build_model(name, weights=path, num_classes=classes)[0].eval()
    if (path / "config.json").is_file():
        name, classes = preset_of_folder(path)
        return build_model(name, weights=path, num_classes=classes)[0].eval()
    return _network_of_run(source, network, step, root)


def _network_of_run(source: str, network: str, step: int | None, root: Path) -> Mask2Former:
    from uda4inst.models.mask2former.network import Mask2Former
    from uda4inst.run_folder.checkpoints import open_checkpoint
    from uda4inst.run_folder.layout import find_run
    from uda4inst.training.config import load_config
    from uda4inst.training.groups.modules import modules_of
    from uda4inst.training.validation import choose_device, load_network

    run = find_run(source, root=root)
    if run.is_grouped:
        modules = ", ".join(str(module.path) for module in modules_of(run))
        raise UserError(f"SOURCE must be one network, got a run of several. Name one: {modules}.")
    config = load_config(run.config)
    checkpoint = open_checkpoint(run.checkpoints, step=step)
    chosen = checkpoint.networks[-1] if network == "best" else network
    model = load_network(config, checkpoint, chosen, choose_device(config))
    if not isinstance(model, Mask2Former):
        raise UserError(
            f"SOURCE must be a run of a Mask2Former, got one of {config.model.preset} "
            f"({run.path}). detectron2's model zoo has no place for it."
        )
    return model
