"""Links between the files that people read on GitHub lead to files and headings that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", "notebooks")
_CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1[`~]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_FENCED = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    found = [p for p in [*ROOT.glob("*.md"), *below] if p.suffix in (".md", ".ipynb")]
    return sorted(p for p in found if ".ipynb_checkpoints" not in p.parts)


def markdown(path: Path) -> str:
    """Return the text of a page; of a notebook that of its text cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of headings."""
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", t) for t in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    broken: list[str] = []
    for link in _LINK.findall(_CODE.sub("", markdown(path))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = path.parent / name if name else path
        known = target.suffix in (".md", ".ipynb") and target.is_file()
        headings = anchors(_FENCED.sub("", markdown(target))) if known and anchor else {anchor}
        if not target.exists() or anchor not in headings:
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links__lead_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_broken_links__names_files_and_headings_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# One `two`, three\n", encoding="utf-8")
    page = tmp_path / "a.md"
    page.write_text(
        "# Top\n[a](b.md) [b](b.md#one-two-three) [c](#top) [d](https://a.org) `[e](f.md)`\n"
        "```\n[g](h.md)\n```\n[i](c.md) [j](b.md#four) ![k](l.png) [m](#below)\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["c.md", "b.md#four", "l.png", "#below"]
