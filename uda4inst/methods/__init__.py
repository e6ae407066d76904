"""The methods, by name. To add one: its file, one line in `METHODS`, one YAML.

Another package adds one by an entry point (`registry.py`), a script by `register`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Union, cast

from pydantic import BeforeValidator, Field

from uda4inst.methods import (
    adversarial,
    dacs,
    daformer,
    ehtdi,
    meta_pseudo_labels,
    oracle,
    source_only,
    uda4inst,
)
from uda4inst.methods.base import MethodConfig, MethodSpec
from uda4inst.methods.registry import Methods

METHODS: Final = Methods(
    {
        "source_only": source_only.SPEC,
        "oracle": oracle.SPEC,
        "uda4inst": uda4inst.SPEC,
        "dacs": dacs.SPEC,
        "daformer": daformer.SPEC,
        "ehtdi": ehtdi.SPEC,
        "adversarial": adversarial.SPEC,
        "meta_pseudo_labels": meta_pseudo_labels.SPEC,
    }
)
# What a configuration that names no method means.
DEFAULT_METHOD: Final = "uda4inst"


def register(spec: MethodSpec) -> None:
    """Add a method to those of this process, by the name in its configuration.

    Do so before `uda4inst.training` is imported, which fixes what a configuration may say; the
    command line imports it when a command runs. Other processes (the app's, those of
    `training.modules_at_once`) know the method only by an entry point of its package.

    Raises:
        UserError: the name is taken or missing, or this is too late.
    """
    METHODS.add(spec)


def default_config() -> MethodConfig:
    """Return the configuration of the default method, with its defaults."""
    return METHODS[DEFAULT_METHOD].config(name=DEFAULT_METHOD)


def stage1_config(config: MethodConfig) -> MethodConfig:
    """Return the configuration of a method's stage 1: another method's, of what they share."""
    spec = METHODS[config.name]
    if spec.stage1 is None:
        return config
    kind = METHODS[spec.stage1].config
    shared = config.model_dump(include=set(kind.model_fields) - {"name"})
    return kind.model_validate({**shared, **spec.stage1_settings, "name": spec.stage1})


def foreign_keys(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the top-level settings that only methods other than the named one have."""
    spec = METHODS.get(str(values.get("name", DEFAULT_METHOD)))
    if spec is None:
        return frozenset()
    known = {key for other in METHODS.values() for key in other.config.model_fields}
    return frozenset(values) & (known - set(spec.config.model_fields))


def _own_settings(values: object) -> object:
    """Return the named method's settings: a run of one may carry those of another unused.

    A preset's method is switched by its name alone, and rows of a suite share settings that only
    some of their methods have. Keys that no method knows are left in, and refused.
    """
    if not isinstance(values, Mapping):
        return values
    given = {"name": DEFAULT_METHOD, **cast("Mapping[str, Any]", values)}
    foreign = foreign_keys(given)
    return {key: value for key, value in given.items() if key not in foreign}


def any_method_config() -> Any:
    """Return the type of every method's configuration, told apart by name.

    No method can be added from now on.
    """
    return Annotated[
        Annotated[
            Union[METHODS.close()],  # noqa: UP007 made at run time
            Field(discriminator="name"),
        ],
        BeforeValidator(_own_settings),
    ]
