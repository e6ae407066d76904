"""FiftyOne plugin: a button that writes the images one has chosen as an image list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import workbench.sessions.evaluation  # noqa: F401  the project's protocols, in the page's process
from uda4inst.atomic import disk_errors
from uda4inst.errors import UserError
from workbench.sessions.image_lists import export_view, tagged
from workbench.sessions.library import fo

foo: Final = fo.operators
_LABEL: Final = "Export as image list"
_NAME: Final = re.compile(r"[\w][\w. -]*")


class ExportImageList(foo.Operator):
    """Write selected, tagged or shown images to a file in the project's folder."""

    @property
    def config(self) -> Any:
        """Name and label."""
        return foo.OperatorConfig(
            name="export_image_list", label=_LABEL, icon="playlist_add_check", dynamic=True
        )

    def resolve_placement(self, ctx: Any) -> Any:
        """Put a button above the grid."""
        del ctx
        button = foo.types.Button(label=_LABEL, icon="playlist_add_check", prompt=True)
        return foo.types.Placement(foo.types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def resolve_input(self, ctx: Any) -> Any:
        """Ask which images, and what the file is called."""
        form = foo.types.Object()
        tags = known_tags(ctx.dataset)
        ways = {"selected": f"Selected ({len(ctx.selected)})"} if ctx.selected else {}
        ways |= {"view": f"Shown ({len(shown(ctx))})"} | ({"tag": "Tagged"} if tags else {})
        radio = foo.types.RadioGroup()
        for value, label in ways.items():
            radio.add_choice(value, label=label)
        first = next(iter(ways))
        form.enum("which", radio.values(), default=first, label="Images", view=radio)
        which = ctx.params.get("which") or first
        if which == "tag":
            form.enum("tag", tags, required=True, label="Tag of images, or of labels on them")
        domains = domains_of(ctx, which)
        if len(domains) > 1:
            form.enum("domain", domains, required=True, label="Domain")
        form.str("name", required=True, label="Name", description=f"Of the file, in {folder()}.")
        return foo.types.Property(form, view=foo.types.View(label=_LABEL))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Write the file; what is wrong comes back as the reason."""
        try:
            path = file_named(ctx.params.get("name") or "")
            view, what = chosen(ctx, ctx.params.get("which", "view"))
            with disk_errors("the folder of lists", path.parent, then="write it again"):
                path.parent.mkdir(parents=True, exist_ok=True)
            count = export_view(view, path, domain=ctx.params.get("domain"), what=what)
        except UserError as error:
            return {"written": f"Nothing: {error}"}
        return {"written": f"{count} images: {path}"}

    def resolve_output(self, ctx: Any) -> Any:
        """Say what was written."""
        del ctx
        answer = foo.types.Object()
        answer.str("written", label="Written")
        return foo.types.Property(answer)


def folder() -> Path:
    """Return where lists go: beside the folder of plugins, in the project's own."""
    return Path(fo.config.plugins_dir).parent / "lists"


def file_named(name: str) -> Path:
    """Return the file of a name.

    Raises:
        UserError: it is empty, or a path.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name must be letters, digits, '.', '_', '-' and spaces, got {name!r}. Choose another."
        )
    return folder() / (name if name.endswith(".txt") else f"{name}.txt")


def known_tags(dataset: Any) -> list[str]:
    """Return the tags of images and of labels."""
    return sorted({*dataset.distinct("tags"), *dataset.count_label_tags()})


def domains_of(ctx: Any, which: str) -> list[str]:
    """Return the domains of the images that would be written, in alphabetical order."""
    if not ctx.dataset.has_field("domain"):
        return []
    if which == "tag" and not ctx.params.get("tag"):
        return sorted(ctx.dataset.distinct("domain"))
    return sorted(chosen(ctx, which)[0].distinct("domain"))


def chosen(ctx: Any, which: str) -> tuple[Any, str]:
    """Return the images that were asked for, and what they are called."""
    if which == "tag":
        tag = ctx.params.get("tag") or ""
        return tagged(ctx.dataset, tag), f"tagged {tag!r}"
    view = shown(ctx)
    if which == "view":
        return images_of(ctx.dataset, view), "shown"
    picked = (view if view._is_patches else ctx.dataset).select(ctx.selected)
    return images_of(ctx.dataset, picked), "selected"


def shown(ctx: Any) -> Any:
    """Return what the grid shows: the view, saved or not, as the sidebar and a lasso narrow it.

    FiftyOne's own `ctx.view` is the whole saved view where one is open.
    """
    asked = dict(ctx.request_params)
    if name := asked.pop("view_name", None):
        asked["view"] = ctx.dataset.load_saved_view(name)._serialize()
    view = type(ctx)(request_params=asked).view
    picked = (ctx.extended_selection or {}).get("selection")
    return view.select(picked) if picked else view


def images_of(dataset: Any, view: Any) -> Any:
    """Return the images of a view, those of single objects included."""
    return dataset.select(view.distinct("sample_id")) if view._is_patches else view


def register(plugin: Any) -> None:
    """Tell FiftyOne what there is."""
    plugin.register(ExportImageList)
