"""COCO annotation files, decoded into their types in one go.

Outlines stay the JSON they are until their image is read. Whether each is one is seen when the file
is opened, and that it was is remembered in the user's cache until the file changes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict, TypeVar

import msgspec
import numpy as np
from jaxtyping import Int64

from uda4inst.data.files.cache import cache_folder, fingerprint
from uda4inst.data.records import FileFault, TreeError, shorten
from uda4inst.errors import UserError
from uda4inst.reading import MAX_DATA, read_bytes
from uda4inst.structures import Size

_log = logging.getLogger(__name__)

T = TypeVar("T")
Id = int | str
_MEND: Final = "Mend the file, or export it again."
_Side = Annotated[int, msgspec.Meta(gt=0)]


class RunLengthCode(TypedDict):
    """A mask as run lengths, of which `counts` is COCO's text or the numbers themselves."""

    size: list[int]
    counts: str | list[int]


Polygons = list[Annotated[list[float], msgspec.Meta(min_length=6)]]  # three points at least
Mask = Annotated[Polygons, msgspec.Meta(min_length=1)] | RunLengthCode
_mask_of: Final = msgspec.json.Decoder[Mask](Mask).decode


class Annotation(msgspec.Struct, gc=False):
    """One object or group, its outline still JSON."""

    image_id: Id
    category_id: Id
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    iscrowd: Any = 0
    id: Any = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"annotation {self.id}".strip()

    def mask(self) -> Mask:
        """Return its polygons or run-length code.

        Raises:
            ValueError: it is neither.
        """
        try:
            mask = _mask_of(self.segmentation)
        except msgspec.DecodeError as error:
            raise ValueError(
                f"segmentation must be polygons or a run-length code: {error}"
            ) from error
        if isinstance(mask, list):
            for part in mask:  # a loop: `any` takes three times as long
                if len(part) % 2:
                    raise ValueError(f"polygon must have pairs of numbers, got {len(part)} numbers")
        return mask


class ListedImage(msgspec.Struct, gc=False):
    """An image as the file lists it; `file_name` is its path, "/" between folders."""

    id: Id
    file_name: Annotated[str, msgspec.Meta(min_length=1)]
    height: _Side | None = None
    width: _Side | None = None

    @property
    def size(self) -> Size | None:
        """(height, width), None where the file does not say."""
        return None if self.height is None or self.width is None else (self.height, self.width)


class _Category(msgspec.Struct, gc=False):
    id: Id
    name: str


class _Images(msgspec.Struct):
    images: list[ListedImage]


class _Document(_Images):
    annotations: list[Annotation]
    categories: list[_Category]


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFile:
    """What an annotation file lists; annotations of classes that are not wanted are left out.

    Args:
        path: the file.
        images: in the file's order.
        categories: name -> class, None where it is not wanted.
        left_out: name -> annotations, of the categories that are not wanted.
        labels: class by category id.
        annotations: image by image, else in the file's order.
        first: annotations of image i are `first[i]` to `first[i + 1]`.
    """

    path: Path
    images: tuple[ListedImage, ...]
    categories: dict[str, int | None]
    left_out: dict[str, int]
    labels: dict[Id, int]
    annotations: list[Annotation]
    first: Int64[np.ndarray, " I"]

    def annotations_of(self, image: int) -> list[Annotation]:
        """Return the annotations of an image, in the file's order."""
        return self.annotations[self.first[image] : self.first[image + 1]]


def read_images(path: Path) -> tuple[ListedImage, ...]:
    """Return the images a file lists; its annotations are passed over.

    Raises:
        UserError: the file is missing, no JSON, or lists no images or malformed ones.
    """
    return tuple(_listed(_decode(path, _Images).images, path).values())


def read_categories(path: Path) -> dict[str, int]:
    """Return the names of a file's categories and how many annotations each has; no mask is read.

    Raises:
        UserError: the file is missing, no JSON, or not of COCO's layout.
    """
    document = _decode(path, _Document)
    counts = Counter(entry.category_id for entry in document.annotations)
    return _left_out(_names(document.categories, path), {}, counts)


def read_annotation_file(path: Path, *, label_of: Callable[[str], int | None]) -> AnnotationFile:
    """Return what a file lists.

    Args:
        path: the file.
        label_of: class of a category's name, None where it is not wanted.

    Raises:
        UserError: the file is missing, no JSON, or not of COCO's layout; where its entries disagree
            or outlines are malformed all are counted, five shown.
    """
    document = _decode(path, _Document)
    images, names = _listed(document.images, path), _names(document.categories, path)
    labels = {key: label for key, name in names.items() if (label := label_of(name)) is not None}
    counts = Counter(e.category_id for e in document.annotations)
    place_of = {key: place for place, key in enumerate(images)}
    wanted = [e for e in document.annotations if e.category_id in labels and e.image_id in place_of]
    problems: list[str] = []
    if len(wanted) < len(document.annotations):
        of_images = Counter(e.image_id for e in document.annotations)
        problems += _strangers("image_id", of_images, images)
        problems += _strangers("category_id", counts, names)
    problems += _malformed_masks(path, labels, wanted)
    _refuse(path, problems)
    places = np.array([place_of[entry.image_id] for entry in wanted], dtype=np.int64)
    order = np.argsort(places, kind="stable")
    return AnnotationFile(
        path=path,
        images=tuple(images.values()),
        categories={name: labels.get(key) for key, name in names.items()},
        left_out=_left_out(names, labels, counts),
        labels=labels,
        annotations=[wanted[number] for number in order.tolist()],
        first=np.searchsorted(places[order], np.arange(len(images) + 1)),
    )


def _decode(path: Path, kind: type[T]) -> T:
    """Return a file's content as one of the types above."""
    try:
        data = read_bytes(path, limit=MAX_DATA)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.json.decode(_strictly(data), type=kind)
    except msgspec.ValidationError as error:
        raise UserError(
            f"annotation file must have COCO's layout: {error} ({path}). {_MEND}"
        ) from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(
            f"annotation file must be readable, got {reason} ({path}). {_MEND}"
        ) from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"annotation file must be whole JSON, got {error} ({path}). {_MEND}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"annotation file must be well-formed, got {error} ({path}). {_MEND}"
        ) from error


def _strictly(data: bytes) -> bytes:
    """Return what Python writes and reads beyond JSON's letter, such as NaN, as JSON.

    Raises:
        ValueError: it is not even that.
    """
    value = json.loads(data, parse_constant=lambda _: None)
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _listed(entries: list[ListedImage], path: Path) -> dict[Id, ListedImage]:
    """Return the listed images by their ids."""
    images: dict[Id, ListedImage] = {}
    names: set[str] = set()
    problems: list[str] = []
    for entry in entries:
        if "\\" in entry.file_name:
            entry.file_name = entry.file_name.replace("\\", "/")  # written on Windows
        name = entry.file_name
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            problems.append(f"file_name must lead down from the root, got {name!r}")
        elif entry.id in images or name in names:
            problems.append(f"image must be listed once, got id {entry.id!r}, {name!r} again")
        if (entry.height is None) is not (entry.width is None):
            problems.append(f"image must have both height and width, got one ({name})")
        images[entry.id] = entry
        names.add(name)
    _refuse(path, problems)
    if not images:
        raise UserError(f"annotation file must list images, got none ({path}). {_MEND}")
    return images


def _names(entries: list[_Category], path: Path) -> dict[Id, str]:
    """Return the names of categories by their ids."""
    names: dict[Id, str] = {}
    _refuse(
        path,
        [
            f"category id must be given once, got {entry.id!r} for {entry.name!r} again"
            for entry in entries
            if names.setdefault(entry.id, entry.name) != entry.name
        ],
    )
    return names


def _left_out(
    names: Mapping[Id, str], labels: Mapping[Id, int], counts: Mapping[Id, int]
) -> dict[str, int]:
    """Return how many annotations each unwanted category has; one name may have several ids."""
    left_out: Counter[str] = Counter()
    for key, name in names.items():
        if key not in labels:
            left_out[name] += counts.get(key, 0)
    return dict(left_out)


def _strangers(key: str, counts: Mapping[Id, int], known: Collection[Id]) -> list[str]:
    """Return one line for each id that is not listed."""
    return [
        f"{key} must be listed, got {value!r} in {count} annotations"
        for value, count in counts.items()
        if value not in known
    ]


def _malformed_masks(
    path: Path, labels: dict[Id, int], annotations: Iterable[Annotation]
) -> list[str]:
    """Return what is wrong with the form of masks; nothing where they were seen to be well."""
    try:
        seen = cache_folder() / "coco" / fingerprint([path.absolute()], labels)
        if seen.exists():
            return []
    except OSError:
        return []  # the file is gone: its reader says so
    problems: list[str] = []
    for entry in annotations:
        try:
            entry.mask()
        except ValueError as error:
            problems.append(f"{entry.name}: {error}")
    if not problems:
        try:
            seen.parent.mkdir(parents=True, exist_ok=True)
            seen.touch()
        except OSError as error:
            _log.info("masks will be looked at again: %s", error)
    return problems


def _refuse(path: Path, problems: list[str]) -> None:
    """Raise once for all problems, if there are any."""
    if not problems:
        return
    raise TreeError(
        f"annotation file must be well-formed, got {len(problems)} faults ({path}):\n"
        f"" + shorten(problems, separator="\n") + f"\n{_MEND}",
        [FileFault("malformed", path, problem) for problem in problems],
    )
