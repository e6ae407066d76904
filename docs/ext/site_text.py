"""Markdown that directives of the site are made of."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def escape(text: str) -> str:
    """Return plain text as Markdown that shows it; what is code already stays so."""
    pieces = re.split(r"(`[^`]+`|(?<!\S)--[a-z][\w-]*)", text)
    plain = [re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", piece) for piece in pieces[::2]]
    codes = [code(piece.strip("`")) for piece in pieces[1::2]]
    return "".join(part for pair in zip(plain, [*codes, ""], strict=True) for part in pair)


def code(text: str) -> str:
    """Return text as Markdown's code."""
    return f"`{text}`"


def fence(name: str, argument: str, body: str) -> str:
    """Return a directive of MyST around a body that may hold directives itself."""
    ticks = "`" * max([2, *(len(run) for run in re.findall(r"`{3,}", body))])
    return f"{ticks}`{{{name}}} {argument}\n{body.strip()}\n{ticks}`\n"


class MadeDirective(SphinxDirective):
    """A directive that stands for Markdown made when the site is built."""

    required_arguments = 1
    has_content = False

    def made(self) -> str:
        """Return the Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return what the Markdown says."""
        return self.parse_text_to_nodes(self.made(), allow_section_headings=True)
