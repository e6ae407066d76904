"""`uda4inst init`: a configuration for folders of one's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from uda4inst.errors import UserError

if TYPE_CHECKING:
    from uda4inst.proposals.configuration import Proposal
    from uda4inst.proposals.folders import SplitSeen
    from uda4inst.proposals.sides import Side, Sides, Wanted
    from uda4inst.training.gpu import Card

_DEFAULT_OUT: Final = Path("own.yaml")
_Format = Annotated[str | None, typer.Option(help="Its format, where more than one fits.")]
_Split = Annotated[str | None, typer.Option(help="Its split; default: the one its name suggests.")]


def init(
    source: Annotated[
        Path | None, typer.Option(help="Folder of labelled synthetic images; else asked for.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option(help="Folder of real images; else asked for.")
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled real images to judge by; default: the target's own."),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write; must be new.")] = _DEFAULT_OUT,
    source_format: _Format = None,
    target_format: _Format = None,
    val_format: _Format = None,
    source_split: _Split = None,
    target_split: _Split = None,
    val_split: _Split = None,
    class_map: Annotated[
        Path | None,
        typer.Option(help="Class map of names in annotation files; default: one is proposed."),
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(help="A class beside the eight, by its name in annotation files; repeatable."),
    ] = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(min=0, help="GiB of the GPU to train on, 0 for none; default: this one's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, take what is proposed.")] = False,
) -> None:
    """Look at folders of your own and write a configuration for them.

    Formats, classes, crop, network, batch and schedule are proposed, each
    with its reason beside it. Names in annotation files get a class map,
    which is yours to edit. What could not be found out is said.
    """
    from uda4inst.proposals.configuration import propose
    from uda4inst.proposals.sides import Wanted

    map_file = class_map or out.with_name(f"{out.stem}_classes.yaml")
    _require_new(out, *(() if class_map else (map_file,)))
    if out.suffix not in (".yaml", ".yml"):  # commands know configurations by it
        raise UserError(f"--out must be a file NAME.yaml, got {out}. Call it {out.name}.yaml.")
    sides = _find_sides(
        Wanted(source or _ask("source", yes=yes), source_format, source_split),
        Wanted(target or _ask("target", yes=yes), target_format, target_split),
        None if val is None else Wanted(val, val_format, val_split),
        yes=yes,
    )
    proposal = propose(
        sides,
        card=_card(gpu_memory),
        name=_run_name(out),
        map_file=map_file,
        is_there=class_map is not None,
        own=own or (),
    )
    _write(proposal, out, map_file)
    _say_next(proposal, out, map_file)


def _find_sides(source: Wanted, target: Wanted, val: Wanted | None, *, yes: bool) -> Sides:
    """Return the split of each folder that is used."""
    from uda4inst.proposals import sides

    def find(side: Side, wanted: Wanted) -> SplitSeen:
        return sides.find_side(side, wanted, say=typer.echo, choose=_first if yes else _choose)

    of_source, of_target = find("source", source), find("target", target)
    sides.require_different(of_source, of_target, "target")
    if val is None and (own := sides.own_val(of_target)) is not None:
        typer.echo(f"val {own.root}: {own.format}, {own}")
        return sides.Sides(of_source, of_target, own)
    if val is None and not yes:
        root = _prompt("Folder of labelled real images to judge by (empty: none)", default="")
        val = sides.Wanted(Path(root)) if root else None
    if val is None:
        return sides.Sides(of_source, of_target, None)
    of_val = find("val", val)
    sides.require_different(of_source, of_val, "val")
    return sides.Sides(of_source, of_target, of_val)


def _ask(side: str, *, yes: bool) -> Path:
    if yes:
        raise UserError(f"--{side} must be given with --yes, got none. Name the folder.")
    kinds = {"source": "labelled synthetic images", "target": "real images"}
    return Path(_prompt(f"Folder of {kinds[side]}"))


def _prompt(question: str, default: str | None = None) -> str:
    """Ask; where nobody can answer, say what to give instead."""
    try:
        return typer.prompt(question, default=default)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo()
        raise UserError(
            f"answers must come from a terminal, got the end of the input at {question!r}. Give "
            "--source, --target and --yes."
        ) from None


def _first(side: str, formats: Sequence[str]) -> str:
    typer.echo(f"{side}: {formats[0]} is taken; --{side}-format takes another")
    return formats[0]


def _choose(side: str, formats: Sequence[str]) -> str:
    answer = _prompt(f"Format of {side} ({', '.join(formats)})", default=formats[0])
    if answer not in formats:
        raise UserError(f"format must be one of {', '.join(formats)}, got {answer!r}.")
    return answer


def _require_new(*files: Path) -> None:
    """Raise unless files may be written."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise UserError(f"--out must be new, got one that exists ({path}). Name another file.")
        if not path.absolute().parent.is_dir():
            raise UserError(
                f"--out must lie in a folder that is there, got {path}. Make the folder first."
            )


def _run_name(out: Path) -> str:
    """Return a run's name for a configuration's file."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", out.stem).lstrip("._-")
    return name[:100] or "own"


def _card(gpu_memory: float | None) -> Card | None:
    """Return the GPU to fit: that of this machine, or one of the memory that was said."""
    from uda4inst.training.gpu import Card, find_card

    if gpu_memory is None:
        return find_card()
    return Card("as said by --gpu-memory", gpu_memory) if gpu_memory else None


def _write(proposal: Proposal, out: Path, map_file: Path) -> None:
    """Write the class map, where one is proposed, and the configuration."""
    from uda4inst.atomic import disk_errors, write_whole
    from uda4inst.formats.class_map import write_class_map
    from uda4inst.proposals.commented import to_commented_yaml
    from uda4inst.training.config import load_config

    if proposal.entries:
        about = (
            "Names in your annotation files, and which of person, rider, car, truck, bus, train,",
            "motorcycle and bicycle each is. Nothing makes its objects background. Behind each:",
            "how many annotations of which data set have it.",
        )
        write_class_map(map_file, proposal.entries, about=about, own=proposal.own)
    about = (
        f"Proposed by uda4inst init. Train: uda4inst train {out}",
        *(f"Not found out: {text}" for text in proposal.unknown),
    )
    with disk_errors("configuration", out, then="call again, or choose another file"):
        write_whole(out, to_commented_yaml(proposal.values, about=about))
    load_config(out)


def _say_next(proposal: Proposal, out: Path, map_file: Path) -> None:
    """Print what was written, what is open, and the commands that come next."""
    typer.echo(f"scale: {proposal.note}")
    for entry in proposal.entries:
        typer.echo(f"class {entry.name!r}: {entry.ours or 'background'} ({entry.remark})")
    for text in proposal.unknown:
        typer.echo(f"not found out: {text}")
    typer.echo(f"wrote {out}{f' and {map_file}' if proposal.entries else ''}. Next:")
    typer.echo(f"  uda4inst data check {out}")
    typer.echo(f"  uda4inst train {out}")
