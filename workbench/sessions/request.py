"""What a session of data is asked to hold, the trees it means, and its name."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import ValidationError

from uda4inst.data.config import DatasetRef
from uda4inst.data.files.cache import fingerprint
from uda4inst.data.readers import DATASETS, format_class
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.structures import Domain
from uda4inst.yaml_dialect import parse_yaml

FORMAT: Final = 3  # of our data sets in FiftyOne: another number has them built anew
# Splits that nobody trains on; the labels of a target's other splits are shown when asked for.
JUDGED_SPLITS: Final = ("val", "test")

LabelState = Literal["none", "ground truth", "diagnostics"]


@dataclass(frozen=True, slots=True)
class Side:
    """The images of one domain.

    Args:
        domain: which side of the adaptation they belong to.
        ref: the split of a data set, and how it is read.
    """

    domain: Domain
    ref: DatasetRef


@dataclass(frozen=True, slots=True)
class DataRequest:
    """What a session of data holds.

    Args:
        title: what it is called, for people.
        sides: the images, a domain or both.
        target_labels: whether labels of a target's training split are shown, as diagnostics.
        limit: images of each side, spread evenly; None for all.
        also: names of images that are held whatever the limit.
    """

    title: str
    sides: tuple[Side, ...]
    target_labels: bool = False
    limit: int | None = None
    also: tuple[str, ...] = ()

    def name(self) -> str:
        """Return the data set's name in FiftyOne: the same for the same request alone.

        All that differ in `also` share one, in which images come together; those without any, on
        which predictions are judged, have another.
        """
        places = [
            (side.domain, str(Path(side.ref.root).resolve()), side.ref.model_dump_json())
            for side in self.sides
        ]
        named = ("also",) if self.also else ()
        facts = repr((places, self.target_labels, self.limit, *named)).encode()
        return f"data-{plain(self.title)}-{hashlib.sha256(facts).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, eq=False)
class OpenSide:
    """One domain's images, listed.

    Args:
        side: what was asked for.
        tree: its images, opened with labels only where those are shown.
        labels: what its labels are here.
        chosen: places of the images in the tree.
    """

    side: Side
    tree: ImageTree
    labels: LabelState
    chosen: tuple[int, ...]

    def holding(self, names: Collection[str]) -> OpenSide:
        """Return the side with those of its images chosen as well that have one of the names."""
        named = (i for i in range(len(self.tree)) if self.tree.basename(i) in names)
        return replace(self, chosen=tuple(sorted({*self.chosen, *named})))

    def fingerprint(self) -> str:
        """Return what changes with the files, how they are read, and how they are kept here.

        Raises:
            UserError: a file went away.
        """
        records = [self.tree.records[index] for index in self.chosen]
        files = [file for record in records for file in (record.image, *record.labels)]
        facts = (FORMAT, self.tree.name, self.tree.split, self.tree.options, self.labels)
        try:
            return fingerprint(files, *facts)
        except OSError as error:
            raise UserError(
                f"images and labels must stay while they are read, got {error.strerror} "
                f"({error.filename}). Open the session again."
            ) from error


def request_tree(
    format_name: str,
    root: Path,
    *,
    split: str | None = None,
    target_labels: bool = False,
    limit: int | None = None,
) -> DataRequest:
    """Return the request for one split of a data set; its domain is the format's usual one.

    Raises:
        UserError: the format is unknown, or the folder is not there.
    """
    kind = format_class(format_name)
    if not root.is_dir():
        got = "a file" if root.exists() else "no such folder"
        raise UserError(f"ROOT must be the data set's folder, got {got} ({root}).")
    values = {"format": format_name, "root": str(root), "split": split or kind.default_split}
    ref = DatasetRef.model_validate(values)
    return DataRequest(_title(ref), (Side(kind.usual_domain, ref),), target_labels, limit)


def request_preset(
    preset: str, *, target_labels: bool = False, limit: int | None = None
) -> DataRequest:
    """Return the request for source and target of a configuration, as training reads them.

    Raises:
        UserError: there is no such file or preset, or it is wrong.
    """
    from uda4inst.training.config import load_config  # all methods and networks come along

    data = load_config(preset).data
    sides = (Side("source", data.source), Side("target", data.target))
    return DataRequest(Path(preset).stem, sides, target_labels, limit)


def request_refs(
    refs: Mapping[Domain, str], *, target_labels: bool = False, limit: int | None = None
) -> DataRequest:
    """Return the request for images that are named as a configuration names them.

    Args:
        refs: what stands below data.source or data.target, as YAML; one domain or both.
        target_labels: as `DataRequest`.
        limit: as `DataRequest`.

    Raises:
        UserError: one of them is no such YAML.
    """
    sides = tuple(Side(domain, _read_ref(text, f"--{domain}")) for domain, text in refs.items())
    title = " and ".join(_title(side.ref) for side in sides)
    return DataRequest(title, sides, target_labels, limit)


def _read_ref(text: str, option: str) -> DatasetRef:
    """Return the images that YAML names.

    Raises:
        UserError: it names none.
    """
    try:
        return DatasetRef.model_validate(parse_yaml(text))
    except ValueError as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        place = ".".join(str(part) for part in first["loc"]) if first else ""
        reason = f"{place}: {first['msg']}".removeprefix(": ") if first else "no YAML"
        raise UserError(
            f"{option} must be like {{format: urbansyn, root: FOLDER, split: train}}, got {text!r} "
            f"({reason})."
        ) from error


def _title(ref: DatasetRef) -> str:
    return f"{ref.format} {Path(ref.root).resolve().name} {ref.split}"


def open_sides(request: DataRequest) -> list[OpenSide]:
    """List the images of a request, but for those that are held whatever the limit.

    Labels that are not shown are not looked for.

    Raises:
        UserError: a tree is missing or incomplete, the limit is below 1, or none of the images has
            a name that was asked for.
    """
    if request.limit is not None and request.limit < 1:
        raise UserError(f"limit must be at least 1, got {request.limit}. Leave it out for all.")
    sides = [_open(side, request) for side in request.sides]
    known = (side.tree.basename(index) for side in sides for index in range(len(side.tree)))
    if strangers := set(request.also).difference(known):
        raise UserError(
            f"--also must name images of the data set, got {', '.join(sorted(strangers))} "
            f"({request.title}). Names are those of image_name in FiftyOne."
        )
    return sides


def _open(side: Side, request: DataRequest) -> OpenSide:
    kind = DATASETS[side.ref.format]
    labels = label_state(side, has_labels=kind.has_labels, target_labels=request.target_labels)
    tree = kind(
        Path(side.ref.root),
        side.ref.split,
        require_labels=labels != "none",
        domain=side.domain,
        options=side.ref.options(),
    )
    return OpenSide(side, tree, labels, spread(len(tree), request.limit))


def label_state(side: Side, *, has_labels: bool, target_labels: bool) -> LabelState:
    """Return what the labels of a side are in a session; a target's are never training's."""
    if not has_labels:
        return "none"
    if side.domain == "source" or side.ref.split in JUDGED_SPLITS:
        return "ground truth"
    return "diagnostics" if target_labels else "none"


def spread(count: int, limit: int | None) -> tuple[int, ...]:
    """Return so many of the places 0..count-1, spread evenly."""
    if limit is None or limit >= count:
        return tuple(range(count))
    places: Sequence[int] = np.linspace(0, count - 1, limit).round().astype(int).tolist()
    return tuple(places)


def plain(title: str) -> str:
    """Return the letters and digits of a text that a name in FiftyOne can have."""
    ascii_text = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", ascii_text.lower())
    return "-".join(words)[:60] or "images"
