"""From a configuration's JSON schema to form fields, and from their values to overrides.

Nothing here knows which settings exist: a new one in the schema appears in the form by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from uda4inst.errors import UserError

Kind = Literal["switch", "whole", "number", "choice", "choices", "text", "yaml"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One setting of the configuration.

    Args:
        key: dotted, such as "method.mixing.s2t".
        kind: how it is entered; "yaml" is for lists and whatever has no control of its own.
        description: the schema's.
        choices: allowed values of a choice.
        nullable: whether it may be left empty.
    """

    key: str
    kind: Kind
    description: str = ""
    choices: tuple[str, ...] = ()
    nullable: bool = False

    @property
    def section(self) -> str:
        """First part of the key; settings at the top are in "general"."""
        return self.key.split(".")[0] if "." in self.key else "general"

    @property
    def label(self) -> str:
        """The key below its section as words."""
        parts = self.key.split(".")
        words = " · ".join(part.replace("_", " ") for part in (parts[1:] or parts))
        return words[:1].upper() + words[1:]


def field_specs(schema: Mapping[str, Any]) -> list[FieldSpec]:
    """Return the settings of a pydantic model's JSON schema in its order, nested ones flattened."""
    return list(_walk(schema, schema, prefix=""))


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """Return a nested configuration's value by dotted key; None where a part is missing."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def to_widget(spec: FieldSpec, value: Any) -> Any:
    """Return a configuration value as its form control shows it."""
    if spec.kind == "choices":
        return list(value or ())
    if spec.kind == "yaml":
        return "" if value is None else _flow(value)
    if spec.kind in ("text", "choice"):
        return value or ""
    return value


def from_widget(spec: FieldSpec, value: Any) -> Any:
    """Return what a form control holds as a configuration value.

    Raises:
        UserError: a list is not written as YAML, or a number is missing.
    """
    if spec.kind == "switch":
        return bool(value)
    if spec.kind == "choices":
        return list(value or ())
    if value is None or (isinstance(value, str) and not value.strip()):
        if spec.nullable:
            return None
        if spec.kind in ("text", "yaml"):
            return "" if spec.kind == "text" else None
        raise UserError(f"{spec.key} must have a value, got nothing (form). Enter one.")
    if spec.kind == "whole":
        return int(value) if float(value).is_integer() else float(value)
    if spec.kind == "yaml":
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(
                f"{spec.key} must be a list such as [1, 2], got {value!r} (form). Correct it."
            ) from error
    return value.strip() if isinstance(value, str) else value


def overrides(
    specs: Sequence[FieldSpec], base: Mapping[str, Any], values: Sequence[Any]
) -> list[str]:
    """Return `key=value` for every form value that differs from the base configuration.

    Args:
        specs: the form's settings.
        base: the preset's resolved configuration.
        values: the controls' values in the order of `specs`.

    Raises:
        UserError: a control holds something that is no value; all offenders are named.
    """
    changed: list[str] = []
    problems: list[str] = []
    for spec, raw in zip(specs, values, strict=True):
        try:
            value = from_widget(spec, raw)
        except UserError as error:
            problems.append(str(error))
            continue
        if not _same(value, value_at(base, spec.key)):
            changed.append(f"{spec.key}={_flow(value)}")
    if problems:
        raise UserError(" ".join(problems))
    return changed


def _walk(
    schema: Mapping[str, Any], root: Mapping[str, Any], *, prefix: str
) -> Iterator[FieldSpec]:
    for name, raw in schema.get("properties", {}).items():
        node, nullable = _resolve(raw, root)
        key = f"{prefix}{name}"
        if node.get("type") == "object" and "properties" in node and not nullable:
            yield from _walk(node, root, prefix=f"{key}.")
        else:
            yield _spec(key, node, raw, root, nullable=nullable)


def _spec(
    key: str,
    node: Mapping[str, Any],
    raw: Mapping[str, Any],
    root: Mapping[str, Any],
    *,
    nullable: bool,
) -> FieldSpec:
    kind, choices = _kind(node, root)
    if kind == "choice" and nullable:
        choices = ("", *choices)
    text = raw.get("description") or node.get("description") or ""
    return FieldSpec(key, kind, description=text, choices=choices, nullable=nullable)


def _kind(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Kind, tuple[str, ...]]:
    if "const" in node:
        return "choice", (str(node["const"]),)
    if "enum" in node and all(isinstance(v, str) for v in node["enum"]):
        return "choice", tuple(node["enum"])
    simple: dict[Any, Kind] = {
        "boolean": "switch",
        "integer": "whole",
        "number": "number",
        "string": "text",
    }
    if node.get("type") in simple:
        return simple[node["type"]], ()
    if node.get("type") == "array" and isinstance(node.get("items"), Mapping):
        item, _ = _resolve(node["items"], root)
        if "enum" in item:
            return "choices", tuple(str(v) for v in item["enum"])
    return "yaml", ()


def _resolve(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return a schema node without references, and whether null is allowed."""
    while "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    options = node.get("anyOf") or node.get("oneOf")
    if not options:
        return node, False
    others = [option for option in options if option.get("type") != "null"]
    nullable = len(others) < len(options)
    if len(others) == 1:
        inner, _ = _resolve(others[0], root)
        return {**inner, **{k: v for k, v in node.items() if k not in ("anyOf", "oneOf")}}, nullable
    return {k: v for k, v in node.items() if k not in ("anyOf", "oneOf")}, nullable


def _flow(value: Any) -> str:
    """Return a value as YAML on one line, the way overrides are written."""
    if isinstance(value, str) and _reads_back(value):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("...").strip()


def _reads_back(text: str) -> bool:
    """Return whether YAML reads this text as itself, so that it needs no quotes."""
    try:
        return yaml.safe_load(text) == text
    except yaml.YAMLError:
        return False


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or (one in ("", None) and other in ("", None))
