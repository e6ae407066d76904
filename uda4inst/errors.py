"""The one error type for everything a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake outside the program: a tree, file, configuration, checkpoint or name.

    The message says what is wrong, where, and what to do. The command line prints it alone and
    exits with code 2; the app shows it and goes on; in a notebook it stands under the cell.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints of it."""
        return [f"error: {self}"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known, if any is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
