"""The configuration's reference: `{settings} all` shows every setting from the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo
from site_text import MadeDirective, code, escape, fence
from sphinx.application import Sphinx

from uda4inst.data.config import DatasetRef
from uda4inst.methods import DEFAULT_METHOD, METHODS
from uda4inst.settings import ClassName, Settings
from uda4inst.training.schema import Config

SHARED: Final = "method"
FIRST_DATA_SET: Final = "data.source"
# What a description says where a value comes from.
SOURCES: Final = {
    "the paper": r"\b[Pp]apers?\b(?! names none)",
    "the authors' code": r"authors' (v1 |later )?code",
    "DAFormer": r"\bDAFormer(: |\)|'s code: )",
    "DACS": r"\bDACS(: |, )",
    "EHTDI": r"\(EHTDI: ",
    "MC-PanDA": r"MC-PanDA",
    "Mask2Former": r"\(Mask2Former:",
    "ours": r"\bours\b",
}
NOT_SOURCES: Final = r"Not in the paper; |the paper's lineage"
BOUNDS: Final = ((Ge, "from {}"), (Gt, "above {}"), (Le, "to {}"), (Lt, "below {}"))


@dataclass(frozen=True)
class Setting:
    """One setting as its reference shows it."""

    name: str
    type: str
    range: str
    default: str
    description: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Settings that stand together."""

    name: str
    description: str
    settings: tuple[Setting, ...]


def sources_of(description: str) -> tuple[str, ...]:
    """Return where a description says that values come from, in its order."""
    text = re.sub(NOT_SOURCES, "", description)
    found = {name: re.search(pattern, text) for name, pattern in SOURCES.items()}
    places = {name: match.start() for name, match in found.items() if match}
    return tuple(sorted(places, key=places.__getitem__))


def type_of(annotation: Any) -> str:
    """Return a type as a reader of YAML knows it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation == ClassName:
        return "class name"
    if origin is Annotated:
        return type_of(inner[0])
    if origin is Literal:
        return " | ".join(str(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " | ".join(type_of(part) for part in inner)
    if origin is tuple:
        parts = [part for part in inner if part is not Ellipsis]
        shown = [type_of(part) for part in parts]
        return f"list of {plural(shown[0])}" if Ellipsis in inner else f"[{', '.join(shown)}]"
    names = {str: "text", bool: "true | false", int: "integer", float: "number", NoneType: "null"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def plural(word: str) -> str:
    """Return the plural of a type; choices between literals stay as they are."""
    first, _, rest = word.partition(" ")
    return word if "|" in word else f"{first}s {rest}" if first == "list" else f"{word}s"


def bounds_in(annotation: Any) -> Iterator[Any]:
    """Yield what bounds the values within a type, such as the parts of a list."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return
    for part in inner:
        if isinstance(part, FieldInfo):
            yield from part.metadata
        else:
            yield from bounds_in(part)


def range_of(field: FieldInfo) -> str:
    """Return the bounds of a setting, or of what its list holds; empty where there are none."""
    metadata = [*field.metadata, *bounds_in(field.annotation)]
    words: list[str] = []
    for bound, word in BOUNDS:
        name = bound.__name__.lower()
        words += [word.format(number(getattr(m, name))) for m in metadata if isinstance(m, bound)]
    words += ["not empty" for m in metadata if isinstance(m, MinLen)]
    words += [f"at most {m.max_length} long" for m in metadata if isinstance(m, MaxLen)]
    return " ".join(dict.fromkeys(words))


def number(value: Any) -> str:
    """Return a number as it is read best."""
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else f"{value}"


def default_of(field: FieldInfo) -> str:
    """Return a default as YAML has it; `required` where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(str(part) for part in value)}]"
    return str(value) or "empty"


def setting_of(name: str, field: FieldInfo) -> Setting:
    """Return a setting's entry."""
    description = field.description or ""
    return Setting(
        name=name,
        type=type_of(field.annotation),
        range=range_of(field),
        default=default_of(field),
        description=description,
        sources=sources_of(description),
    )


def groups_of(model: type[Settings], name: str, about: str) -> Iterator[Group]:
    """Yield the settings of a model, then those of the models in it."""
    own: list[Setting] = []
    inner: list[Group] = []
    for key, field in model.model_fields.items():
        dotted, kind = f"{name}.{key}".lstrip("."), field.annotation
        if dotted == SHARED:
            inner += method_groups()
        elif isinstance(kind, type) and issubclass(kind, DatasetRef) and dotted != FIRST_DATA_SET:
            inner.append(like_source(dotted, kind, field.description or ""))
        elif isinstance(kind, type) and issubclass(kind, Settings):
            inner += groups_of(kind, dotted, field.description or "")
        else:
            own.append(setting_of(dotted, field))
    yield Group(name, about, tuple(own))
    yield from inner


def like_source(name: str, model: type[DatasetRef], about: str) -> Group:
    """Return what a data set has beside the settings of the first, which stand there."""
    fields = {k: f for k, f in model.model_fields.items() if k not in DatasetRef.model_fields}
    settings = tuple(setting_of(f"{name}.{key}", field) for key, field in fields.items())
    return Group(name, f"{about} It has all settings of {FIRST_DATA_SET}.", settings)


def method_groups() -> Iterator[Group]:
    """Yield what all methods have, then what each has beside it."""
    configs = {name: spec.config for name, spec in METHODS.items()}
    fields = [config.model_fields for config in configs.values()]
    shared = [key for key in fields[0] if key != "name" and all(key in other for other in fields)]
    choice = Setting(f"{SHARED}.name", " | ".join(configs), "", DEFAULT_METHOD, "Which method.", ())
    of_all = [setting_of(f"{SHARED}.{key}", fields[0][key]) for key in shared]
    yield Group(SHARED, "What every method has.", (choice, *of_all))
    common = {"name", *shared}
    for name, config in configs.items():
        for group in groups_of(config, SHARED, config.model_fields["name"].description or ""):
            own = [s for s in group.settings if s.name.removeprefix(f"{SHARED}.") not in common]
            if own:
                yield Group(f"{group.name} ({name})", group.description, tuple(own))


def all_groups() -> list[Group]:
    """Return every setting of a configuration, in the schema's order."""
    return list(groups_of(Config, "", ""))


def as_markdown(setting: Setting, *, again: bool = False) -> str:
    """Return a setting's entry as Markdown; one that stands twice is found at the first."""
    values = code(setting.type) + (f", {escape(setting.range)}" if setting.range else "")
    default = setting.default if setting.default == "required" else code(setting.default)
    facts = [values, f"default {default}" if default != "required" else default]
    facts += [f"source: {', '.join(setting.sources)}"] if setting.sources else []
    body = (
        f"{':no-index:' if again else ''}\n\n{' · '.join(facts)}\n\n{escape(setting.description)}"
    )
    return fence("setting", setting.name, body)


class SettingsReference(MadeDirective):
    """All settings, a section a group."""

    def made(self) -> str:
        """Return a section a group."""
        parts: list[str] = []
        seen: set[str] = set()
        for group in all_groups():
            title = code(group.name) if group.name else "Of the run"
            parts += [f"## {title}\n\n{escape(group.description)}\n"]
            parts += [as_markdown(s, again=s.name in seen) for s in group.settings]
            seen |= {s.name for s in group.settings}
        return "\n".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_object_type("setting", "setting", objname="setting")
    app.add_directive("settings", SettingsReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
