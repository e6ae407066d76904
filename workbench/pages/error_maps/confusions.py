"""Which class is taken for which, as heat maps: of the image on screen, and of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.evaluation.error_maps import ErrorIndex
from uda4inst.evaluation.semantic_errors import ERROR_CLASSES
from workbench.ui import markup
from workbench.ui.palette import semantic_css

NO_CLASS: Final = "no class"
_NAMES: Final = (NO_CLASS, *ERROR_CLASSES)  # by the number that a class has in an `ErrorIndex`
# The order of trainIds, which every paper has; what is predicted as no class comes last.
_ORDER: Final = tuple(_NAMES.index(c.name) for c in SEMANTIC_CLASSES)
_HINT: Final = (
    "A row for every class that is there: what its pixels were called, in per cent of them. Below, "
    "the largest mistakes in words."
)
_WORST: Final = 5
_SHORT: Final = 0.005  # shares below are shown as nothing


def confusions(index: ErrorIndex, name: str, *, side: str, data: str, thing: int | None) -> str:
    """Return what is taken for what in an image and in all evaluated ones.

    Args:
        index: of the semantic maps of one network.
        name: of the image on screen; one without a judged map is left out.
        side: "A" or "B", and whose maps they are.
        data: the data set and its split.
        thing: index in `ERROR_CLASSES` of the one class looked at; None for all.
    """
    parts: list[tuple[str, NDArray[np.int64]]] = []
    if name in index.sample_ids:
        parts.append((f"image {name}", index.counts[index.sample_ids.index(name)]))
    count = len(index.sample_ids)
    parts.append((f"all {count:,} evaluated images of {data}", index.counts.sum(axis=0)))
    tables = "".join(
        f"<section>{_caption(where, counts)}{_table(counts, where, thing)}"
        f"{_sentences(counts, where, thing)}</section>"
        for where, counts in parts
    )
    head = markup.section(f"{side}: what is taken for what", _HINT)
    return f"{head}<div class='wb-pair'>{tables}</div>"


def _caption(where: str, counts: NDArray[np.int64]) -> str:
    pixels = f"{int(counts.sum()):,} judged pixels"
    return markup.facts([("measured on", where), ("", pixels)])


def _table(counts: NDArray[np.int64], where: str, thing: int | None) -> str:
    """Return the shares of every true class's pixels by what they were called, as a heat map."""
    rows = [n for n in _ORDER if counts[n].any() and thing in (None, n - 1)]
    columns = [n for n in (*_ORDER, 0) if counts[rows][:, n].any()]
    if not rows:
        return markup.empty("No such pixels", f"{where} has none of {_NAMES[(thing or 0) + 1]}.")
    head = ["of the pixels of", "pixels", *(_NAMES[n] for n in columns)]
    body = [
        [
            _key(_NAMES[n]),
            f"{int(counts[n].sum()):,}",
            *(_cell(counts, n, said, where) for said in columns),
        ]
        for n in rows
    ]
    return markup.table(head, body, kind="wb-counts wb-confusion")


def _key(name: str) -> str:
    return f'<i class="wb-dot" style="--key:{semantic_css(name)}"></i>{escape(name)}'


def _cell(counts: NDArray[np.int64], true: int, said: int, where: str) -> str:
    share = counts[true, said] / counts[true].sum()
    kind = "right" if true == said else "wrong"
    words = escape(_sentence(counts, true, said, where))
    text = f"{100 * share:.0f}" if share >= _SHORT else ""
    return (
        f'<span class="wb-heat wb-{kind}" style="--share:{share:.3f}" title="{words}">{text}</span>'
    )


def _sentence(counts: NDArray[np.int64], true: int, said: int, where: str) -> str:
    """Return one entry in words."""
    own, part = int(counts[true].sum()), int(counts[true, said])
    verb = "rightly called" if true == said else "called"
    return (
        f"Of the {own:,} pixels of {_NAMES[true]}, {100 * part / own:.1f} % were {verb} "
        f"{_NAMES[said]} ({part:,} pixels; {where})."
    )


def _sentences(counts: NDArray[np.int64], where: str, thing: int | None) -> str:
    """Return the largest confusions in words, those with most pixels first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    if thing is not None:
        wrong[[n for n in range(len(wrong)) if n != thing + 1]] = 0
    order: Sequence[int] = np.argsort(-wrong.ravel(), kind="stable")[:_WORST].tolist()
    pairs = [(int(true), int(said)) for true, said in (divmod(k, len(wrong)) for k in order)]
    items = "".join(
        f"<li>{escape(_sentence(counts, true, said, where))}</li>"
        for true, said in pairs
        if wrong[true, said]
    )
    return f"<ol class='wb-quiet'>{items}</ol>" if items else ""
