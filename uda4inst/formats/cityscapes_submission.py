"""Result folders of the Cityscapes benchmark: one text file an image, one PNG a mask.

A line of `{city}_{sequence}_{frame}*.txt` holds the mask's path relative to the text file, the
regular label id and the score, separated by single spaces. Reading follows the official tool where
it accepts a folder, and says what is wrong where it stops.
"""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uda4inst.classes import LABEL_TO_THING, MAX_LABEL_ID, NUM_THINGS, THING_CLASSES
from uda4inst.errors import UserError
from uda4inst.formats.predictions import (
    OUT_OF_CLASS,
    ImagePredictions,
    ScoredMask,
    basename,
    writing_text,
)
from uda4inst.pictures import MAX_PICTURE, check_picture, decode_picture
from uda4inst.reading import is_file, read_bytes, read_text
from uda4inst.structures import Size

_SHOWN_OFFENDERS = 5
_LICENSE_PLATE = -1


@dataclass(frozen=True, slots=True)
class MaskLine:
    """One line of a result file: mask file, regular Cityscapes label id, score."""

    mask: Path
    label_id: int
    score: float
    where: str

    def load(self, size: Size) -> ScoredMask:
        """Return the detection; any nonzero pixel belongs to it, as in the official tool.

        Raises:
            UserError: the mask cannot be read or has another size.
        """
        try:
            pixels = _read_mask(self.mask)
        except (OSError, ValueError) as error:
            raise UserError(
                f"mask must be a readable image, got {error} ({self.mask}, {self.where})."
            ) from error
        if pixels.shape != size:
            raise UserError(
                f"mask must have the image's size {size[0]}x{size[1]}, got "
                f"{pixels.shape[0]}x{pixels.shape[1]} ({self.mask}, {self.where}). "
                "Resize the prediction to the annotation's height x width."
            )
        label = OUT_OF_CLASS if self.label_id < 0 else int(LABEL_TO_THING[self.label_id])
        return ScoredMask(label, self.score, pixels)


def write_submission(folder: Path, predictions: Iterable[ImagePredictions]) -> int:
    """Write a result folder the official tool reads; return how many images it holds.

    Scores keep all their digits (rounding makes ties, and ties change AP). Empty masks are written
    like any other; detections outside the eight classes have no label id and are left out. Masks
    are named as their image or, where that name has spaces, by its number.

    Raises:
        UserError: two images share one Cityscapes name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for image in predictions:
        name = basename(image.sample_id)
        if name in seen:
            raise UserError(f"sample_id must be unique in a submission, got {name!r} twice.")
        seen.add(name)
        # The lines of a text file are split at spaces.
        prefix = name if len(name.split()) == 1 else f"image{len(seen):06d}"
        lines: list[str] = []
        for number, detection in enumerate(image.detections):
            if not 0 <= detection.label < NUM_THINGS:
                continue
            thing = THING_CLASSES[detection.label]
            mask_name = f"{prefix}_{number:03d}_{thing.name}.png"
            pixels = detection.pixels().astype(np.uint8) * 255
            Image.fromarray(pixels).save(folder / mask_name, compress_level=1)
            lines.append(f"{mask_name} {thing.label_id} {float(detection.score)!r}\n")
        with writing_text(folder / f"{name}_pred.txt") as write:
            write("".join(lines))
    return len(seen)


def read_submission(folder: Path, names: Sequence[str]) -> dict[str, list[MaskLine]]:
    """Return the lines of every wanted image; masks are not opened yet.

    Two lines that name one mask file count once, the last one (as in the official tool).

    Args:
        folder: searched at any depth.
        names: Cityscapes basenames; each needs exactly one text file, which may be empty and whose
            name begins with it, and with no longer one of these.

    Raises:
        UserError: every missing, doubled or malformed file of the folder, in one message.
    """
    files = sorted(folder.rglob("*.txt"), key=lambda p: p.name)
    file_names = [p.name for p in files]
    known = frozenset(names)
    problems: list[str] = []
    found: dict[str, list[MaskLine]] = {}
    for name in names:
        start = bisect.bisect_left(file_names, name)
        stop = bisect.bisect_left(file_names, f"{name}\U0010ffff")
        match [path for path in files[start:stop] if _is_of(path.name, name, known)]:
            case [one]:
                found[name] = _read_lines(one, folder, problems)
            case []:
                problems.append(f"image {name} has no {name}*.txt (no predictions: an empty file)")
            case several:
                listed = ", ".join(str(p.relative_to(folder)) for p in several[:3])
                problems.append(f"image {name} has {len(several)} text files: {listed}")
    if problems:
        more = len(problems) - _SHOWN_OFFENDERS
        tail = f"\n  and {more} more" if more > 0 else ""
        raise UserError(
            f"submission folder must hold one well-formed text file an image, got ({folder}):\n  "
            + "\n  ".join(problems[:_SHOWN_OFFENDERS])
            + tail
        )
    return found


def _is_of(file_name: str, name: str, known: frozenset[str]) -> bool:
    """Whether a file that begins with an image's name is not that of a longer name: img1, img10."""
    longer = (file_name[:length] for length in range(len(name) + 1, len(file_name)))
    return known.isdisjoint(longer)


def _read_lines(path: Path, root: Path, problems: list[str]) -> list[MaskLine]:
    """Return the lines of one text file; append what is wrong to `problems`."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.relative_to(root)}: not readable as text ({error})")
        return []
    lines: dict[Path, MaskLine] = {}
    for number, line in enumerate(text.split("\n")[: None if text[-1:] not in ("", "\n") else -1]):
        where = f"{path.relative_to(root)} line {number + 1}"
        try:
            parsed = _parse_line(line, path, root, where)
        except UserError as error:
            problems.append(str(error))
        else:
            lines[parsed.mask] = parsed
    return list(lines.values())


def _read_mask(path: Path) -> NDArray[np.bool_]:
    """Return True where an image, turned to 8-bit gray, is not 0."""
    data = read_bytes(path, limit=MAX_PICTURE)
    check_picture(data)
    gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if gray is not None and gray.dtype == np.uint8 and gray.ndim == 2:
        return np.minimum(gray, 1).view(np.bool_)
    # Anything but plain 8-bit gray goes the official tool's way: Pillow decides what is gray.
    return decode_picture(data, lambda image: image.convert("L")) != 0


def _parse_line(line: str, path: Path, root: Path, where: str) -> MaskLine:
    tokens = line.split(" ")
    if len(tokens) != 3:
        raise UserError(
            f"{where}: must be `mask_path label_id score` with single spaces, got {line!r}"
        )
    mask_name, label_text, score_text = tokens
    if Path(mask_name).is_absolute():
        raise UserError(f"{where}: mask path must be relative to the text file, got {mask_name}")
    # Not resolved through links, as in the official tool.
    mask = Path(os.path.normpath(path.parent.absolute() / mask_name))
    if not mask.is_relative_to(os.path.normpath(root.absolute())):
        raise UserError(f"{where}: mask path must stay inside the folder, got {mask_name}")
    if not is_file(mask):
        raise UserError(f"{where}: mask must exist, got no file {mask_name}")
    try:
        label_id, score = int(float(label_text)), float(score_text)
    except (ValueError, OverflowError):
        raise UserError(
            f"{where}: label id and score must be numbers, got {label_text!r} {score_text!r}"
        ) from None
    if not _LICENSE_PLATE <= label_id <= MAX_LABEL_ID:
        raise UserError(
            f"{where}: label id must be a Cityscapes id -1..{MAX_LABEL_ID} (person is 24), "
            f"got {label_text}"
        )
    if not math.isfinite(score):
        raise UserError(f"{where}: score must be finite, got {score_text}")
    return MaskLine(mask, label_id, score, where)
