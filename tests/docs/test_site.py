"""The site's settings on a small tree: start page, contents, links, a notebook, nothing fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="the extra docs is not installed")

import site_contents
import site_offline

ROOT = Path(__file__).parents[2]
CONTENTS = """<!-- README -->
```{toctree}
:hidden:
:caption: Tutorials

docs/tutorials
docs/reference/api/ops
docs/reference/configuration
```

<!-- docs/tutorials -->
```{toctree}
:glob:
:titlesonly:

/notebooks/*
```
"""
PAGES = {
    "README.md": "# A site\n\n[Tutorials](docs/tutorials.md), [part](docs/tutorials.md#a-part), "
    "[file](docs/a.csv), [module](uda4inst/ops/blur.py), [folder](uda4inst/ops).\n",
    "docs/contents.md": CONTENTS,
    "docs/tutorials.md": "# Tutorials\n\n## A part\n\n`seed=1`, `optim.lr`\n",
    "docs/reference/api/ops.md": "# Operations\n\n```{api} uda4inst.ops.blur\n```\n",
    "docs/reference/configuration.md": "# Configuration\n\n```{settings} all\n```\n",
    "docs/a.csv": "a,b\n",
    "uda4inst/ops/blur.py": "",
}
TABLE = "| row | AP |\n| :-- | --: |\n| none | 17.2 |\n"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def notebook() -> dict[str, Any]:
    """Return a notebook that was run: text with a formula, code, a number, a picture, a table."""
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["AP 23.5\n"]},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": TABLE}},
    ]
    text = "# Does it render?\n\nIt is $x^2$; see [the part](../docs/tutorials.md#a-part)."
    cells = [
        {"id": "a", "cell_type": "markdown", "metadata": {}, "source": text},
        {
            "id": "b",
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": "print('AP', 23.5)",
            "outputs": outputs,
        },
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def write(folder: Path, pages: dict[str, str]) -> None:
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ["-c", str(ROOT / "docs"), "-q", "-W", "-n", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small site, built as `make docs` builds the whole."""
    folder = tmp_path_factory.mktemp("site")
    write(folder / "in", {**PAGES, "notebooks/01_does_it.ipynb": json.dumps(notebook())})
    done = build(folder / "in", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_site__start_page_leads_to_the_readme(site: Path) -> None:
    assert "url=README.html" in page(site, "index.html")
    start = page(site, "README.html")
    assert 'href="docs/tutorials.html"' in start
    assert 'href="docs/tutorials.html#a-part"' in start


def test_site__links_to_files_modules_and_folders(site: Path) -> None:
    start = page(site, "README.html")
    assert 'href="docs/reference/api/ops.html#module-uda4inst.ops.blur"' in start
    assert 'href="docs/reference/api/ops.html"' in start
    assert "a.csv" in start
    assert list(site.glob("_downloads/*/a.csv"))


def test_site__names_of_settings_lead_to_the_reference(site: Path) -> None:
    text = page(site, "docs/tutorials.html")
    assert 'href="reference/configuration.html#setting-seed"' in text
    assert 'href="reference/configuration.html#setting-optim.lr"' in text


def test_site__api_has_types_as_written(site: Path) -> None:
    text = page(site, "docs/reference/api/ops.html")
    assert "blur_5x5" in text
    assert 'C</span> <span class="pre">H</span>' in text


def test_site__notebook_with_text_code_and_outputs(site: Path) -> None:
    text = page(site, "notebooks/01_does_it.html")
    assert "Does it render?" in text
    assert "AP 23.5" in text
    assert "<math" in text
    assert "_images/" in text
    assert "17.2</p></td>" in text
    listed = page(site, "docs/tutorials.html")
    assert "../notebooks/01_does_it.html" in listed


def test_site__loads_nothing_from_elsewhere(site: Path) -> None:
    assert list(site_offline.fetched_below(site)) == []


def test_site__builds_without_notebooks(tmp_path: Path) -> None:
    write(tmp_path / "in", PAGES)
    done = build(tmp_path / "in", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


def test_site__a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    write(tmp_path / "in", {**PAGES, "docs/tutorials.md": "# T\n\n## A part\n[x](y.md#z)\n"})
    done = build(tmp_path / "in", tmp_path / "out")
    assert done.returncode != 0
    assert "y.md" in done.stderr


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ('<script src="https://a.org/b.js"></script>', ".html", ["https://a.org/b.js"]),
        ('<img alt="" src="//a.org/b.png">', ".html", ["//a.org/b.png"]),
        ('<link rel="stylesheet" href="http://a.org/b.css">', ".html", ["http://a.org/b.css"]),
        ('<a href="https://a.org">a</a>', ".html", []),
        ('<script src="_static/b.js"></script>', ".html", []),
        ("@import url(https://a.org/b.css);", ".css", ["https://a.org/b.css"]),
    ],
)
def test_fetched__what_a_page_loads(text: str, suffix: str, expected: list[str]) -> None:
    assert site_offline.fetched(text, suffix) == expected


def test_contents_of__by_page() -> None:
    found = site_contents.contents_of("<!-- a -->\nx\n\n<!-- b/c -->\ny\n")
    assert found == {"a": "x\n\n", "b/c": "y\n"}


def test_existing__only_what_there_is() -> None:
    tables = "```{toctree}\n:glob:\n\na\nc*\n```\n\n```{toctree}\n:glob:\n\n/n/*\n```\n"
    assert site_contents.existing(tables, "d/e", {"d/a"}) == "```{toctree}\n:glob:\n\na\n```\n\n"
    assert site_contents.existing(tables, "d/e", {"d/a", "d/c1", "n/o"}) == tables
