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


def existing(contents: str, docname: str, found: set[str]) -> str:
    """Return a table of contents without patterns that no page fits, and without empty tables."""
    kept: list[str] = []
    for line in contents.splitlines(keepends=True):
        pattern = join("/", dirname(docname), line.strip()).lstrip("/")
        if "*" not in line or any(fnmatch(name, pattern) for name in found):
            kept.append(line)
    return re.sub(r"```\{toctree\}\n(:.*\n|\n)*```\n*", "", "".join(kept))


def append_contents(app: Sphinx, docname: str, content: list[str]) -> None:
    """Append a page's table of contents."""
    file = Path(app.srcdir, CONTENTS)
    contents = contents_of(file.read_text(encoding="utf-8")).get(docname)
    if contents is not None:
        app.env.note_dependency(file)
        shown = existing(contents, docname, app.env.found_docs)
        content[0] = f"{content[0].rstrip()}\n\n{shown}"


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
