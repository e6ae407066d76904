"""From a configuration's JSON schema to form fields, and from their values to overrides.

Nothing here knows which settings exist: a new one in the schema appears in the form by itself, and
so does a new variant of a part that comes in several (pydantic's discriminated unions). The
setting that chooses the variant is a choice like any other; the settings of a variant say when
they apply, and only those that do are shown and sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import yaml

from uda4inst.errors import UserError
from uda4inst.yaml_dialect import YamlWriter, parse_yaml

Kind = Literal["switch", "whole", "number", "choice", "choices", "open choices", "text", "yaml"]
# A part of a JSON schema.
_Node: TypeAlias = Mapping[str, Any]


class _NoDefault:
    """Stands where a schema names no default."""


_NO_DEFAULT: Final = _NoDefault()


@dataclass(frozen=True, slots=True)
class Condition:
    """A setting applies only where another has one of these values.

    Args:
        key: of the setting that decides.
        values: under which this one applies.
    """

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One setting of the configuration.

    Args:
        key: dotted, such as "data.source.root".
        kind: how it is entered; "open choices" may be others than those offered, "yaml" is for
            lists and whatever has no control of its own.
        description: the schema's.
        choices: allowed values of a choice.
        nullable: whether it may be left empty.
        default: the schema's, where it names one.
        when: all must hold for the setting to apply.
        name: of its control, unique in the form. The key; variants that differ in a setting of one
            key have a control each, and all but the first are named after their variant as well.
    """

    key: str
    kind: Kind
    description: str = ""
    choices: tuple[str, ...] = ()
    nullable: bool = False
    default: object = _NO_DEFAULT
    when: tuple[Condition, ...] = ()
    name: str = ""

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


def field_specs(schema: Mapping[str, object]) -> list[FieldSpec]:
    """Return the settings of a pydantic model's JSON schema in its order, nested ones flattened.

    What chooses a variant comes before the settings of the variants. A setting that several have
    alike is one field.
    """
    found: list[FieldSpec] = []
    keys: set[str] = set()
    for spec in _walk(schema, schema, prefix="", given=None):
        variant = ".".join(condition.values[0] for condition in spec.when)
        found.append(replace(spec, name=f"{spec.key}@{variant}" if spec.key in keys else spec.key))
        keys.add(spec.key)
    return found


def shown(specs: Sequence[FieldSpec], values: Mapping[str, object]) -> list[FieldSpec]:
    """Return the settings that apply, for the values of all controls by name."""
    chosen: dict[str, object] = {}
    found: list[FieldSpec] = []
    for spec in specs:
        if all(chosen.get(condition.key) in condition.values for condition in spec.when):
            found.append(spec)
            chosen[spec.key] = values[spec.name]
    return found


def value_at(config: Mapping[str, object], key: str) -> object:
    """Return a nested configuration's value by dotted key; None where a part is missing."""
    value: object = config
    for part in key.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def form_values(specs: Sequence[FieldSpec], config: Mapping[str, object]) -> dict[str, object]:
    """Return what the controls show for a configuration, by name.

    Settings of variants that the configuration has not chosen are at their defaults.
    """
    return {spec.name: to_widget(spec, _start(spec, config)) for spec in specs}


def to_widget(spec: FieldSpec, value: object) -> object:
    """Return a configuration value as its form control shows it."""
    if spec.kind in ("choices", "open choices"):
        return list(value) if isinstance(value, list | tuple) else []
    if spec.kind == "yaml":
        return "" if value is None else _flow(value)
    if spec.kind in ("text", "choice"):
        return value or ""
    return value


def from_widget(spec: FieldSpec, value: object) -> object:
    """Return what a form control holds as a configuration value.

    Raises:
        UserError: a list is not written as YAML, or a number is missing.
    """
    if spec.kind == "switch":
        return bool(value)
    if spec.kind in ("choices", "open choices"):
        return list(value) if isinstance(value, list | tuple) else []
    if value is None or (isinstance(value, str) and not value.strip()):
        if spec.nullable:
            return None
        if spec.kind in ("text", "yaml"):
            return "" if spec.kind == "text" else None
        raise UserError(f"{spec.key} must have a value, got nothing (form). Enter one.")
    if spec.kind == "whole" and isinstance(value, float) and value.is_integer():
        return int(value)
    if spec.kind == "yaml" and isinstance(value, str):
        try:
            return parse_yaml(value)
        except ValueError as error:
            raise UserError(
                f"{spec.key} must be a list such as [1, 2], got {value!r} (form). Correct it."
            ) from error
    return value.strip() if isinstance(value, str) else value


def overrides(
    specs: Sequence[FieldSpec], base: Mapping[str, object], values: Mapping[str, object]
) -> list[str]:
    """Return `key=value` for every setting that the form changes in the base configuration.

    Only settings that apply are sent. Of a variant that the base has not chosen, all that differ
    from the defaults or from the base are: what is on screen is what runs, whatever becomes of the
    base's values when the variant changes.

    Args:
        specs: the form's settings.
        base: the preset's resolved configuration.
        values: the controls' values by name.

    Raises:
        UserError: a control holds something that is no value; all offenders are named.
    """
    changed: list[str] = []
    problems: list[str] = []
    for spec in shown(specs, values):
        try:
            value = from_widget(spec, values[spec.name])
        except UserError as error:
            problems.append(str(error))
            continue
        if any(not _same(value, known) for known in _known(spec, base, values)):
            changed.append(f"{spec.key}={_flow(value)}")
    if problems:
        raise UserError(" ".join(problems))
    return changed


def _start(spec: FieldSpec, config: Mapping[str, object]) -> object:
    """Return a setting's value in a configuration, or its default where it does not apply."""
    if _applies(spec, config):
        return value_at(config, spec.key)
    return None if spec.default is _NO_DEFAULT else spec.default


def _known(
    spec: FieldSpec, base: Mapping[str, object], values: Mapping[str, object]
) -> list[object]:
    """Return the values a setting may have when nothing is said about it."""
    if all(values.get(c.key) == value_at(base, c.key) for c in spec.when):
        return [value_at(base, spec.key)]
    default = None if spec.default is _NO_DEFAULT else spec.default
    return [default, value_at(base, spec.key)] if _has(base, spec.key) else [default]


def _applies(spec: FieldSpec, config: Mapping[str, object]) -> bool:
    return all(value_at(config, c.key) in c.values for c in spec.when)


def _has(config: Mapping[str, object], key: str) -> bool:
    above, _, last = key.rpartition(".")
    part = value_at(config, above) if above else config
    return isinstance(part, Mapping) and last in part


def _walk(node: _Node, root: _Node, *, prefix: str, given: object) -> Iterator[FieldSpec]:
    """Yield the settings of an object.

    Args:
        node: its schema.
        root: the whole schema, for references.
        prefix: of its settings' keys.
        given: its default as a whole, which goes before those of its settings.
    """
    for name, raw in node.get("properties", {}).items():
        if raw.get("by_itself"):  # nobody's to enter
            continue
        key, default = f"{prefix}{name}", raw.get("default", _NO_DEFAULT)
        if isinstance(given, Mapping) and name in given:
            default = given[name]
        inner, nullable = _resolve(raw, root)
        if "discriminator" in inner and not nullable:
            yield from _union(key, inner, root, default)
        elif inner.get("type") == "object" and "properties" in inner and not nullable:
            yield from _walk(inner, root, prefix=f"{key}.", given=default)
        else:
            yield _spec(key, inner, raw, root, nullable=nullable, default=default)


def _union(key: str, node: _Node, root: _Node, default: object) -> Iterator[FieldSpec]:
    """Yield what chooses a variant, then the settings of all variants."""
    tag: str = node["discriminator"]["propertyName"]
    mapping: Mapping[str, str] = node["discriminator"]["mapping"]
    # In the union's own order, in which new variants come last: names of controls stay.
    order = [option.get("$ref") for option in node.get("oneOf", ())]
    listed = sorted(mapping.items(), key=lambda item: order.index(item[1]) if order else 0)
    variants = {value: _resolve({"$ref": ref}, root)[0] for value, ref in listed}
    texts = [variant["properties"][tag].get("description") for variant in variants.values()]
    first = default.get(tag, _NO_DEFAULT) if isinstance(default, Mapping) else _NO_DEFAULT
    yield FieldSpec(
        f"{key}.{tag}",
        "choice",
        description=next(filter(None, [node.get("description"), *texts]), ""),
        choices=tuple(variants),
        default=first,
    )
    found: list[tuple[FieldSpec, list[str]]] = []
    for value, variant in variants.items():
        rest = {k: v for k, v in variant["properties"].items() if k != tag}
        given = default if value == first else None
        for spec in _walk({"properties": rest}, root, prefix=f"{key}.", given=given):
            alike = next((values for known, values in found if known == spec), None)
            if alike is None:
                found.append((spec, [value]))
            else:
                alike.append(value)
    for spec, values in found:
        condition = Condition(f"{key}.{tag}", tuple(values))
        yield replace(spec, when=(condition, *spec.when))


def _spec(
    key: str, node: _Node, raw: _Node, root: _Node, *, nullable: bool, default: object
) -> FieldSpec:
    kind, choices = _kind(node, root)
    if kind == "choice" and nullable:
        choices = ("", *choices)
    text = raw.get("description") or node.get("description") or ""
    return FieldSpec(key, kind, text, choices, nullable, default)


def _kind(node: _Node, root: _Node) -> tuple[Kind, tuple[str, ...]]:
    if "const" in node:
        return "choice", (str(node["const"]),)
    if "enum" in node and all(isinstance(v, str) for v in node["enum"]):
        return "choice", tuple(node["enum"])
    simple: dict[str, Kind] = {
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
        if "examples" in item:  # others may be written as well
            return "open choices", tuple(str(v) for v in item["examples"])
    return "yaml", ()


def _resolve(node: _Node, root: _Node) -> tuple[_Node, bool]:
    """Return a schema node without references, and whether null is allowed.

    A union that a setting decides keeps its variants.
    """
    while "$ref" in node:
        target = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    options = node.get("anyOf") or node.get("oneOf")
    if not options or "discriminator" in node:
        return node, False
    others = [option for option in options if option.get("type") != "null"]
    nullable = len(others) < len(options)
    if len(others) == 1:
        inner, _ = _resolve(others[0], root)
        return {**inner, **{k: v for k, v in node.items() if k not in ("anyOf", "oneOf")}}, nullable
    return {k: v for k, v in node.items() if k not in ("anyOf", "oneOf")}, nullable


def _flow(value: object) -> str:
    """Return a value as YAML on one line, the way overrides are written."""
    if isinstance(value, str) and _reads_back(value):
        return value
    text = yaml.dump(value, Dumper=YamlWriter, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("...").strip()


def _reads_back(text: str) -> bool:
    """Return whether YAML reads this text as itself, so that it needs no quotes."""
    try:
        return parse_yaml(text) == text
    except ValueError:
        return False


def _same(one: object, other: object) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or (one in ("", None) and other in ("", None))
