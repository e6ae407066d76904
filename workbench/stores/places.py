"""Which files a person may name in the browser for the app to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uda4inst.errors import UserError


class Places:
    """The folders whose files the app reads when their path is typed into a page.

    Args:
        roots: the working folder, and those of runs, data and suites.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    def check(self, path: str | Path, *, what: str) -> Path:
        """Return a path unchanged.

        Args:
            path: as it was typed.
            what: it is, for the message.

        Raises:
            UserError: it leads elsewhere, by links too.
        """
        try:
            found = Path(path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # NUL, a loop of links
            raise UserError(f"{what} must be a path, got {str(path)!r} ({error}).") from error
        if not any(found.is_relative_to(root.resolve()) for root in self._roots):
            listed = ", ".join(str(root.resolve()) for root in dict.fromkeys(self._roots))
            raise UserError(
                f"{what} must lie in one of the app's folders ({listed}), got {str(path)!r}. Copy "
                "it there, or start the app in another folder."
            )
        return Path(path)
