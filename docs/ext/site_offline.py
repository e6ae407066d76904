"""The built pages ask nothing of any other machine: a page that would stops the build."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

_SOURCE = re.compile(r"""<[a-z]+\s[^>]*?\bsrc(?:set)?\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""", re.I)
_SHEET = re.compile(r"""<link\s[^>]*?\bhref\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""", re.I)
_IMPORT = re.compile(r"""(?:@import\s+|\burl\()\s*["']?((?:https?:)?//[^"')\s]+)""", re.I)
_PATTERNS = {".html": (_SOURCE, _SHEET, _IMPORT), ".css": (_IMPORT,)}


def fetched(text: str, suffix: str) -> list[str]:
    """Return what a page or style sheet would load from elsewhere; links to click are no matter.

    Example:
        >>> fetched('<a href="https://a.org">a</a> <script src="https://b.org/c.js">', ".html")
        ['https://b.org/c.js']
    """
    return [found for pattern in _PATTERNS[suffix] for found in pattern.findall(text)]


def fetched_below(folder: Path) -> Iterator[str]:
    """Yield what the pages of a folder would load from elsewhere, each with its page."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PATTERNS:
            for address in fetched(path.read_text(encoding="utf-8"), path.suffix):
                yield f"{path.relative_to(folder)}: {address}"


def check_pages(app: Sphinx, exception: Exception | None) -> None:
    """Raise where a page would load anything from elsewhere.

    Raises:
        SphinxError: with each page and address.
    """
    if exception is None and app.builder.format == "html":
        found = list(fetched_below(Path(app.outdir)))
        if found:
            raise SphinxError(
                "pages must load nothing from elsewhere, got\n  " + "\n  ".join(found)
            )


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("build-finished", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
