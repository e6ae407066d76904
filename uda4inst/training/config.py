"""From a preset or YAML file and `a.b=c` overrides to a checked `Config`."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from uda4inst.errors import UserError, did_you_mean
from uda4inst.methods import DEFAULT_METHOD, METHODS, foreign_keys
from uda4inst.reading import read_text
from uda4inst.training.hashing import config_hash
from uda4inst.training.schema import Config, to_yaml
from uda4inst.yaml_dialect import MAX_YAML, parse_yaml

log = logging.getLogger(__name__)

_CONFIGS: Final = resources.files("uda4inst") / "configs"
_MOST_KEYS: Final = 16  # of an override; settings have three


@dataclass(frozen=True, slots=True)
class _Override:
    """One `a.b=c`."""

    text: str
    keys: tuple[str, ...]
    value: Any


def preset_names() -> tuple[str, ...]:
    """Return the names of the configurations in the package."""
    return tuple(
        sorted(p.name.removesuffix(".yaml") for p in _CONFIGS.iterdir() if p.name.endswith(".yaml"))
    )


def load_config(path_or_preset: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Return a checked configuration.

    Args:
        path_or_preset: a YAML file, or one of `preset_names`.
        overrides: such as "method.score_threshold=0.8"; values are read as YAML.

    Raises:
        UserError: no such file or preset; not YAML; an unknown key; a value of the wrong type or
            out of range; an image list or class map that cannot be read. The message has one line
            an offender, each naming key and file or override.
    """
    text, where = _read(path_or_preset)
    values = _parse_file(text, where)
    parsed = [_parse_override(override) for override in overrides]
    for override in parsed:
        _apply(values, override)
    config = check_config(values, where=where, overrides=parsed)
    _report_unused(values, parsed)
    return _pinned(config)


def _pinned(config: Config) -> Config:
    """Return a configuration that says which image lists and class maps it was made with."""
    refs = {name: getattr(config.data, name).pinned() for name in ("source", "target", "val")}
    return config.model_copy(update={"data": config.data.model_copy(update=refs)})


def check_config(
    values: Mapping[str, Any], *, where: str, overrides: Sequence[_Override] = ()
) -> Config:
    """Return the configuration that values describe.

    Args:
        values: nested as in the YAML files.
        where: the file they come from, for messages.
        overrides: which values came from the command line instead.

    Raises:
        UserError: see `load_config`.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(fault, where, overrides) for fault in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from error


def _read(path_or_preset: str | Path) -> tuple[str, str]:
    """Return the text of a configuration and where it is from."""
    path = Path(path_or_preset)
    known = preset_names()
    try:
        if str(path_or_preset) not in known or path.is_file():
            return read_text(path, limit=MAX_YAML), str(path)
    except (FileNotFoundError, IsADirectoryError):
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"configuration must be readable text, got {error} ({path}).") from error
    if str(path_or_preset) in known:
        text = (_CONFIGS / f"{path_or_preset}.yaml").read_text(encoding="utf-8")
        return text, f"preset {path_or_preset}"
    hint = did_you_mean(str(path_or_preset), known)
    raise UserError(
        f"CONFIG must be an existing YAML file or a preset ({', '.join(known)}), got "
        f"{_shown(str(path_or_preset))}.{hint}"
    )


def _parse_file(text: str, where: str) -> dict[str, Any]:
    try:
        values = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"configuration must be YAML, got {error} ({where}).") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"configuration must be a mapping of settings, got {type(values).__name__} ({where})."
        )
    return values


def _parse_override(text: str) -> _Override:
    key, equals, value = text.partition("=")
    keys = tuple(key.split("."))
    if not equals or not all(keys) or len(keys) > _MOST_KEYS:
        raise UserError(
            f"override must be written key.sub=value, got {_shown(text)}. "
            "For example: method.score_threshold=0.8"
        )
    try:
        return _Override(text, keys, parse_yaml(value))
    except ValueError as error:
        raise UserError(
            f"override must have a YAML value, got {_shown(text)} ({error})."
        ) from error


def _apply(values: dict[str, Any], override: _Override) -> None:
    """Set one value, making the mappings on the way to it."""
    *parents, last = override.keys
    part = values
    for parent in parents:
        if not isinstance(part.get(parent), dict):
            part[parent] = {}
        part = part[parent]
    if last in ("only", "class_map") and override.value != part.get(last):
        part.pop(f"{last}_hash", None)  # that of another file
    part[last] = override.value


def _explain(fault: Mapping[str, Any], where: str, overrides: Sequence[_Override]) -> str:
    """Return one line about one fault that pydantic found."""
    keys = _without_tags(tuple(str(part) for part in fault["loc"]))
    name = ".".join(keys)
    source = next(
        (
            f"override {o.text!r}"
            for o in reversed(overrides)
            if o.keys == keys[: len(o.keys)] or (keys and keys == o.keys[: len(keys)])
        ),
        where,
    )
    message = str(fault["msg"])
    if not keys:  # a fault of several settings together names them: blame those that were given
        named = [repr(o.text) for o in overrides if ".".join(o.keys) in message]
        source = f"override {', '.join(named)}" if named else where
    if fault["type"] == "union_tag_invalid":
        *first, last = (repr(known) for known in METHODS)
        got = fault["ctx"]["tag"]
        hint = did_you_mean(str(got), METHODS) or " Is the package installed that brings it along?"
        return f"{name}.name must be {', '.join(first)} or {last}, got {got!r} ({source}).{hint}"
    if fault["type"] == "extra_forbidden":
        return f"{name} must be a known setting, which it is not ({source}).{_nearest(keys)}"
    if fault["type"] == "missing":
        return f"{name} must be given ({source})."
    if fault["type"] == "value_error":
        return f"{message.removeprefix('Value error, ').rstrip('.')} ({source})."
    rule = message.removeprefix("Input should ")
    rule = rule if rule != message else f"fit: {message}"
    return f"{name} must {rule}, got {_shown(fault['input'])} ({source})."


def _without_tags(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the place of a fault as people write it: pydantic names a union's variant in it."""
    match keys:
        case ("method", tag, *rest) if tag in METHODS:
            return ("method", *rest)
    return keys


def _report_unused(values: Mapping[str, Any], overrides: Sequence[_Override]) -> None:
    """Say which settings of the command line the chosen method does not have."""
    method = values.get("method")
    if not isinstance(method, Mapping):
        return
    foreign, name = foreign_keys(method), method.get("name", DEFAULT_METHOD)
    for override in overrides:
        if override.keys[0] == "method" and len(override.keys) > 1 and override.keys[1] in foreign:
            log.warning("%s is no setting of method %s: unused.", override.text, name)


def _nearest(keys: tuple[str, ...]) -> str:
    """Return a hint at the known key nearest to an unknown one: here first, then anywhere."""
    known = _known_keys(Config)
    here = [k for k in known if k.rpartition(".")[0] == ".".join(keys[:-1])]
    for candidates in (here, known):
        by_last = {k.rpartition(".")[2]: k for k in reversed(candidates)}
        near = difflib.get_close_matches(keys[-1], by_last, n=1, cutoff=0.7)
        if near:
            return f" Did you mean {by_last[near[0]]}?"
    return f" Known here: {', '.join(k.rpartition('.')[2] for k in here)}."


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all settings of a model."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _shown(value: object) -> str:
    """Return a value for a message, short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["Config", "check_config", "config_hash", "load_config", "preset_names", "to_yaml"]
