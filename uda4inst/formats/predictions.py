"""Predictions as files and evaluators pass them on: one scored mask per detection.

The predictions file of a run is gzipped JSON lines, one image a line:
`{"sample_id", "size": [height, width], "detections": [{"label", "score", "rle"}, ...]}`.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.atomic import whole_file
from uda4inst.classes import MAX_THINGS
from uda4inst.errors import UserError
from uda4inst.formats.rle import Rle, foreground, rle_encode, run_lengths
from uda4inst.pictures import MAX_PIXELS
from uda4inst.reading import MAX_TEXT, open_regular, parse_json
from uda4inst.structures import Size

OUT_OF_CLASS = -1
# What a file that is none, or whose lines are no predictions, raises when it is read.
_DAMAGED: Final = (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, OverflowError)
_CITYSCAPES_NAME: Final = re.compile(r"[A-Za-z-]+_\d{6}_\d{6}(?![^_.])")
_ENDING: Final = re.compile(
    r"(_leftImg8bit|_gt(Fine|Coarse)_\w+)?(\.(png|jpe?g|webp|bmp|tiff?|txt|json))?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredMask:
    """One detection: class, score and a full-size mask.

    Args:
        label: thing index (0..7, own classes behind), or -1 for any other class (evaluators skip
            those).
        score: any finite number, higher is surer.
        mask: boolean (H, W), or its run-length code.

    Raises:
        ValueError: label or score out of range.
    """

    label: int
    score: float
    mask: Rle | NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not OUT_OF_CLASS <= self.label < MAX_THINGS:
            raise ValueError(f"label must lie in [-1, {MAX_THINGS - 1}], got {self.label}.")
        if not np.isfinite(self.score):
            raise ValueError(f"score must be finite, got {self.score}.")

    def pixels(self) -> NDArray[np.bool_]:
        """Return the mask as boolean (H, W).

        Raises:
            ValueError: a run-length code does not fill its size.
        """
        if isinstance(self.mask, np.ndarray):
            return self.mask
        height, width = self.size
        columns = np.zeros(height * width, dtype=bool)
        columns[self.positions()] = True
        return columns.reshape(width, height).T

    def positions(self) -> NDArray[np.int64]:
        """Return the mask's pixels as positions along its columns (column * height + row).

        Raises:
            ValueError: as `pixels`.
        """
        if isinstance(self.mask, np.ndarray):
            return np.flatnonzero(self.mask.T)
        return foreground(run_lengths(self.mask))

    def rle(self) -> Rle:
        """Return the mask's run-length code."""
        return rle_encode(self.mask) if isinstance(self.mask, np.ndarray) else self.mask

    @property
    def size(self) -> Size:
        """(height, width) of the mask."""
        shape = self.mask.shape if isinstance(self.mask, np.ndarray) else self.mask["size"]
        return int(shape[0]), int(shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class ImagePredictions:
    """All detections on one image; there may be none.

    Args:
        sample_id: the data set's own name of the image.
        size: (height, width) of the image and of every mask.
        detections: in any order, possibly overlapping.
    """

    sample_id: str
    size: Size
    detections: tuple[ScoredMask, ...]


def basename(name: str) -> str:
    """Return what names an image in a file name or path.

    That is Cityscapes' `{city}_{sequence}_{frame}` where it is one, whatever follows; else the name
    without Cityscapes' endings.

    Example:
        >>> basename("val/frankfurt/frankfurt_000000_000294_leftImg8bit.png")
        'frankfurt_000000_000294'
        >>> basename("2013_05_28_drive_0000_sync_0000000250_gtFine_instanceIds.png")
        '2013_05_28_drive_0000_sync_0000000250'
    """
    file = name.replace("\\", "/").rsplit("/", 1)[-1]
    match = _CITYSCAPES_NAME.match(file)
    return match[0] if match else _ENDING.sub("", file, count=1)


def merge_detections(parts: Sequence[Sequence[ScoredMask]]) -> tuple[ScoredMask, ...]:
    """Return the detections of several networks on one image as one list, best score first.

    Equal scores keep the order of the networks, so the result depends on nothing else.
    """
    joined = [detection for part in parts for detection in part]
    return tuple(sorted(joined, key=lambda detection: -detection.score))


@contextmanager
def writing_text(path: Path, *, compressed: bool = False) -> Iterator[Callable[[str], object]]:
    """Open a file for text, in a folder made if need be; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, temporary.open("wb") as raw:
        if compressed:
            # No name and no time in the header: equal predictions give equal bytes.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                yield lambda text: packed.write(text.encode())
        else:
            yield lambda text: raw.write(text.encode())


def to_line(predictions: ImagePredictions) -> str:
    """Return the predictions-file line of one image, newline included."""
    detections = [
        {"label": d.label, "score": d.score, "rle": d.rle()} for d in predictions.detections
    ]
    record = {
        "sample_id": predictions.sample_id,
        "size": list(predictions.size),
        "detections": detections,
    }
    return json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"


def read_predictions(path: Path) -> Iterator[ImagePredictions]:
    """Yield the images of a predictions file, in its order.

    Masks stay run-length codes until asked for.

    Raises:
        UserError: the file is missing, truncated, or a line is not as described above.
    """
    whole = 0
    known: set[str] = set()
    try:
        with open_regular(path) as file, gzip.open(file) as lines:
            while line := lines.readline(MAX_TEXT + 1):
                if len(line) > MAX_TEXT:
                    raise ValueError(f"a line of more than {MAX_TEXT:,} bytes")
                found = _parse(parse_json(line))
                if found.sample_id in known:
                    raise ValueError(f"{found.sample_id!r} twice")
                known.add(found.sample_id)
                yield found
                whole += 1
    except FileNotFoundError as error:
        raise UserError(
            f"predictions file must exist, got none ({path}). "
            "Evaluate the run first: it writes this file."
        ) from error
    except _DAMAGED as error:
        raise UserError(
            f"predictions file must be whole gzipped JSON lines, got {type(error).__name__}: "
            f"{error} ({path}, after line {whole}). Evaluate again to rewrite it."
        ) from error


def _parse(record: dict[str, Any]) -> ImagePredictions:
    height, width = record["size"]
    if type(height) is not int or type(width) is not int:
        raise TypeError(f"size {height!r:.40}, {width!r:.40}")
    if not 0 < height * width <= MAX_PIXELS or min(height, width) < 1:
        raise ValueError(f"size {height}x{width}")
    detections = tuple(
        ScoredMask(
            _label(entry["label"]),
            _score(entry["score"]),
            Rle(size=[height, width], counts=_text(entry["rle"]["counts"])),
        )
        for entry in record["detections"]
    )
    return ImagePredictions(_text(record["sample_id"]), (height, width), detections)


def _label(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"label {value!r:.80}")
    return value


def _score(value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError(f"score {value!r:.80}")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80}, which is no text")
    return value
