"""The tables of contents, which GitHub need not show: appended to pages when the site is built.

`docs/contents.md` has them, each below a comment that names its page.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from posixpath import dirname, join
from typing import Any

from sphinx.application import Sphinx

CONTENTS = "docs/contents.md"
START = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={page}">
<link rel="canonical" href="{page}">
<a href="{page}">{title}</a>
"""


def contents_of(text: str) -> dict[str, str]:
    """Return the tables of contents by the page they belong to."""
    parts = re.split(r"^<!-- (\S+) -->\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def is_empty(contents: str, docname: str, found: set[str]) -> bool:
    """Tell whether a table of contents is made of a pattern that no page fits."""
    patterns = re.findall(r"^[^\s:`].*[*].*$", contents, flags=re.MULTILINE)
    whole = [join("/", dirname(docname), pattern).lstrip("/") for pattern in patterns]
    return bool(whole) and not any(fnmatch(name, pattern) for name in found for pattern in whole)


def append_contents(app: Sphinx, docname: str, content: list[str]) -> None:
    """Append a page's table of contents."""
    file = Path(app.srcdir, CONTENTS)
    contents = contents_of(file.read_text(encoding="utf-8")).get(docname)
    if contents is not None:
        app.env.note_dependency(file)
        if not is_empty(contents, docname, app.env.found_docs):
            content[0] = f"{content[0].rstrip()}\n\n{contents}"


def write_start(app: Sphinx, exception: Exception | None) -> None:
    """Write `index.html`, which leads to the start page."""
    if exception is None and app.builder.format == "html":
        page = app.builder.get_target_uri(app.config.root_doc)
        text = START.format(title=app.config.html_title, page=page)
        Path(app.outdir, "index.html").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("source-read", append_contents)
    app.connect("build-finished", write_start)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
