"""The Python API: `{api} uda4inst.ops` shows every module of a package from its docstrings.

What has no docstring of its own is left out, and so is what only holds settings: the reference of
the configuration has these.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from enum import Enum
from typing import Any

from docutils import nodes
from site_text import MadeDirective, code
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

from uda4inst.settings import Settings

MODULE = """## {title}

```{{eval-rst}}
.. automodule:: {name}
   :members:
```
"""


def modules_of(name: str) -> list[str]:
    """Return a module, or every module of a package, that defines something documented."""
    module = importlib.import_module(name)
    below = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
    names = [name, *(inner for part in below for inner in modules_of(f"{name}.{part}"))]
    return [found for found in names if found != name or _is_documented(name)]


def _is_documented(name: str) -> bool:
    """Tell whether a module defines anything public with a docstring."""
    values = vars(importlib.import_module(name)).items()
    return any(
        not key.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
        and value.__doc__
        for key, value in values
    )


class Api(MadeDirective):
    """Every module of the packages and modules that are named."""

    final_argument_whitespace = True

    def made(self) -> str:
        """Return a section a module."""
        parts: list[str] = []
        for name in self.arguments[0].split():
            for module in modules_of(name):
                title = code(module.removeprefix("uda4inst."))
                parts.append(MODULE.format(title=title, name=module))
        return "\n".join(parts)


def skip_settings(app: Sphinx, kind: str, name: str, value: Any, skip: bool, options: Any) -> Any:
    """Leave out what every settings class has: Pydantic's own, and the fields of named tuples."""
    del app, kind, options
    if name.startswith("model_") or "Alias for field number" in (inspect.getdoc(value) or ""):
        return True
    return skip


def signature_as_written(
    app: Sphinx, kind: str, name: str, value: Any, options: Any, signature: Any, returns: Any
) -> tuple[str, str | None] | None:
    """Return a signature with its types as the source has them.

    Enumerations have none, nor have settings: these stand in the configuration's reference.
    """
    del app, name, options, returns
    if inspect.isclass(value) and issubclass(value, Settings | Enum):
        return "", None
    if signature is None or kind not in ("class", "exception", "function", "method"):
        return None
    try:
        found = inspect.signature(value)
    except ValueError:  # of a function that is not Python's
        return None
    parameters = list(found.parameters.values())
    if kind == "method" and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    shown = found.replace(parameters=[_shown(p) for p in parameters])
    arguments = stringify_signature(shown, show_return_annotation=False)
    result = shown.return_annotation
    if kind in ("class", "exception") or result is inspect.Signature.empty:
        return arguments, None
    return arguments, _plain(stringify_annotation(result, "smart"))


def _plain(annotation: str) -> str:
    """Return a type without the space that one-dimensional shapes begin with."""
    return re.sub(r"""(["']) (\S+)\1""", r"\1\2\1", annotation)


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose default can be read."""
    annotation, default = parameter.annotation, parameter.default
    if isinstance(annotation, str):
        annotation = _plain(annotation)
    if repr(default) == "<factory>":
        default = _Made()
    return parameter.replace(annotation=annotation, default=default)


class _Made:
    """A default that is made anew for every object."""

    def __repr__(self) -> str:
        return "..."


def resolve_short_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.reference | None:
    """Let the bare name of something documented lead there, if only one thing has it."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or "." in target:
        return None
    objects = env.domains.python_domain.objects
    found = {name for name in objects if name.endswith(f".{target}")}
    if len(found) != 1:
        return None
    (name,) = found
    entry = objects[name]
    place = node["refdoc"]
    return make_refnode(app.builder, place, entry.docname, entry.node_id, [shown], name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_directive("api", Api)
    app.connect("autodoc-skip-member", skip_settings)
    app.connect("autodoc-process-signature", signature_as_written)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
