"""Links that GitHub has otherwise, or not at all.

A link to a module leads to its place in the API, one to a folder to the page about it; the name of
a setting, where it is written as code, to its entry in the reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

API = "docs/reference/api"
FOLDERS = {"notebooks": "docs/tutorials"}  # others have a README


class RepositoryLinks(SphinxTransform):
    """Turns links to modules and folders into links to pages."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Change the document in place."""
        del kwargs
        for node in list(self.document.findall(addnodes.download_reference)):
            self._redirect(node)
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("reftype") == "myst" and node.get("refdomain") is None:
                self._redirect(node)

    def _redirect(self, node: nodes.Element) -> None:
        """Let a link lead to a page, if there is one for what it names."""
        path = Path(self.env.relfn2path(node["reftarget"], self.env.docname)[1])
        if not path.is_relative_to(self.app.srcdir):
            return
        where = path.relative_to(self.app.srcdir)
        target: dict[str, Any] | None = None
        if where.suffix == ".py" and where.parts[0] == "uda4inst" and self._has_api(where):
            module = ".".join(where.with_suffix("").parts)
            target = {"refdomain": "py", "reftype": "mod", "reftarget": module}
        elif path.is_dir():
            page = FOLDERS.get(str(where), f"{where}/README")
            if self._has_api(where):
                page = f"{API}/{where.name}"
            if page in self.env.found_docs:
                target = {"refdomain": "doc", "reftype": "myst", "reftarget": page}
        if target is not None:
            link = addnodes.pending_xref(
                "", *node.children, refdoc=self.env.docname, refexplicit=True, **target
            )
            link["reftargetid"] = None
            node.replace_self(link)

    def _has_api(self, where: Path) -> bool:
        """Tell whether the API has a page for a path's package."""
        parts = where.with_suffix("").parts
        return len(parts) > 1 and f"{API}/{parts[1]}" in self.env.found_docs


class SettingLinks(SphinxPostTransform):
    """Makes links of settings that are written as code, with a value or without."""

    default_priority = 20

    def run(self, **kwargs: Any) -> None:
        """Change the document in place."""
        del kwargs
        entries = {
            name: (page, anchor)
            for name, _, kind, page, anchor, _ in self.env.domains.standard_domain.get_objects()
            if kind == "setting"
        }
        for node in list(self.document.findall(nodes.literal)):
            page, anchor = entries.get(node.astext().partition("=")[0], ("", ""))
            if page and page != self.env.docname and not _is_linked(node):
                place = self.env.docname
                node.replace_self(
                    make_refnode(self.app.builder, place, page, anchor, [node.deepcopy()])
                )


def _is_linked(node: nodes.Element) -> bool:
    """Tell whether a node is part of a link or of a title."""
    above: nodes.Node | None = node.parent
    while above is not None and not isinstance(above, nodes.reference | nodes.title):
        above = above.parent
    return above is not None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_transform(RepositoryLinks)
    app.add_post_transform(SettingLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
