"""Configurations to begin with, and what becomes of them when values are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from uda4inst.tasks.instances import INSTANCES
from uda4inst.training.config import load_config, preset_names
from uda4inst.training.schema import Config
from uda4inst.yaml_dialect import parse_yaml
from workbench.stores.places import Places
from workbench.ui.forms import Condition, FieldSpec, field_specs

# The folder the presets' configurations name; `--data` puts another in its place.
PRESET_DATA_ROOT: Final = "data/toystreets"
# Where runs lie is the app's own setting; a network's classes follow from method.groups.
_NOT_IN_FORM: Final = frozenset({"run.root", "method.classes"})
# Settings that say nothing to a network for semantic maps.
_INSTANCES_ALONE: Final = frozenset(
    {"model.num_points", "model.deformable_kernel", "method.groups"}
)
# The end of the settings that name a file which is read when the configuration is.
_IMAGE_LIST: Final = ".only"
_OF_INSTANCES: Final = Condition("model.preset", INSTANCES.presets)


class Presets:
    """The shipped configurations, resolved for this app's folders.

    Args:
        runs_root: becomes `run.root` of every run.
        data_root: the ToyStreets folder.
        places: where image lists may lie.
    """

    def __init__(self, *, runs_root: Path, data_root: Path, places: Places) -> None:
        self._runs_root = runs_root
        self._data_root = data_root
        self._places = places
        self._plain: dict[str, Mapping[str, Any]] = {}
        self._resolved: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def names(self) -> list[str]:
        """Names of the shipped configurations."""
        return list(preset_names())

    @cached_property
    def fields(self) -> list[FieldSpec]:
        """The settings a form offers."""
        specs = field_specs(Config.model_json_schema())
        return [
            replace(spec, when=(*spec.when, _OF_INSTANCES))
            if spec.key in _INSTANCES_ALONE
            else spec
            for spec in specs
            if spec.key not in _NOT_IN_FORM
        ]

    def resolved(self, preset: str) -> Mapping[str, Any]:
        """Return every value of a preset in this app's folders."""
        if preset not in self._resolved:
            config = load_config(preset, self._folders(preset))
            self._resolved[preset] = config.model_dump(mode="json")
        return self._resolved[preset]

    def configuration(self, preset: str, overrides: Sequence[str]) -> Config:
        """Return a preset with changed values.

        Raises:
            UserError: a value is of the wrong type or out of range, or an image list is not in one
                of the app's folders; the message names it.
        """
        for key, _, value in (override.partition("=") for override in overrides):
            if key.endswith(_IMAGE_LIST) and value != "null":
                try:
                    named = str(parse_yaml(value))
                except ValueError:
                    continue  # no YAML: `load_config` says so
                self._places.check(named, what=key)
        return load_config(preset, [*self._folders(preset), *overrides])

    def command(self, preset: str, overrides: Sequence[str]) -> str:
        """Return the command that starts the same run in a terminal."""
        words = [*self._folders(preset), *overrides]
        return " ".join(["uda4inst train", preset, *(_quoted(word) for word in words)])

    def missing_data(self, config: Config) -> str | None:
        """Return what to do when a data folder of a configuration is not there, else None."""
        data = config.data
        for root in (data.source.root, data.target.root, data.val.root):
            if not Path(root).is_dir():
                toy = self._data_root in Path(root).parents
                remedy = (
                    f"Make it with: uda4inst data toystreets {self._data_root}"
                    if toy
                    else "Change the data settings, or put the data set there."
                )
                return f"{root} is not there. {remedy}"
        return None

    def _folders(self, preset: str) -> list[str]:
        """Return the overrides that put this app's folders into a preset, where they differ.

        Raises:
            UserError: it is no preset's name; a configuration file is not opened by its path.
        """
        if preset not in self.names:
            raise UserError(f"preset must be one of {', '.join(self.names)}, got {preset!r}.")
        if preset not in self._plain:
            self._plain[preset] = load_config(preset).model_dump(mode="json")
        plain = self._plain[preset]
        changes = []
        if Path(plain["run"]["root"]) != self._runs_root:
            changes.append(f"run.root={self._runs_root}")
        for part in ("source", "target", "val"):
            root = Path(plain["data"][part]["root"])
            if root.is_relative_to(PRESET_DATA_ROOT):
                place = self._data_root / root.relative_to(PRESET_DATA_ROOT)
                if place != root:
                    changes.append(f"data.{part}.root={place}")
        return changes


def _quoted(word: str) -> str:
    """Return a word as a shell needs it."""
    plain = all(c.isalnum() or c in "=._-/:,+" for c in word)
    return word if plain else "'" + word.replace("'", "'\\''") + "'"
