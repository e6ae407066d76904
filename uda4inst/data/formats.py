"""Data set classes by the name of their format, as people type it."""

from __future__ import annotations

import difflib

from uda4inst.data import DATASETS
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError


def format_class(name: str) -> type[ImageTree]:
    """Return the data set class of a format.

    Raises:
        UserError: there is none of that name; the message lists the known and the nearest.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    hint = f"Did you mean {near[0]}?" if near else "Choose one of these."
    raise UserError(f"NAME must be a format ({', '.join(DATASETS)}), got {name!r}. {hint}")


def format_name(dataset: ImageTree) -> str:
    """Return the name of a data set's format: its key in `DATASETS`."""
    return next(name for name, kind in DATASETS.items() if kind is type(dataset))
