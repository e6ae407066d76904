"""Which methods there are: ours, those of installed packages, those that a script registers.

A package brings a method along by an entry point of the group `uda4inst.methods`, whose name is the
method's and whose object is its `MethodSpec`. The core knows neither: they are looked up when
methods are first asked for, which is after their base could be imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, get_args

from uda4inst.errors import UserError
from uda4inst.methods.base import MethodSpec

log = logging.getLogger(__name__)

GROUP: Final = "uda4inst.methods"


class Methods(Mapping[str, MethodSpec]):
    """Specs by name: the package's own, in their order, then what came along.

    Args:
        own: methods of this package.
    """

    def __init__(self, own: Mapping[str, MethodSpec]) -> None:
        self._specs: dict[str, MethodSpec] = dict(own)
        self._has_looked = False
        self._is_closed = False

    def add(self, spec: MethodSpec) -> None:
        """Add a method; see `uda4inst.methods.register`."""
        name = spec.config.model_fields["name"].default
        if get_args(spec.config.model_fields["name"].annotation) != (name,):
            raise UserError(
                "a method's configuration must say its name as `name: Literal[NAME] = NAME`, got "
                f"{spec.config.__name__} without. Write it so."
            )
        if self._is_closed:
            raise UserError(
                f"method {name} must be registered before uda4inst.training is imported, which "
                "fixes what a configuration may say. Register it first, or make it an entry point "
                f"of the group {GROUP}."
            )
        if name in self:
            raise UserError(f"a method's name must be new, got {name!r}. Choose another.")
        self._specs[name] = spec

    def close(self) -> tuple[type[Any], ...]:
        """Return the configurations of all methods; no method can be added from now on."""
        kinds = tuple(spec.config for spec in self.values())
        self._is_closed = True
        return kinds

    def _all(self) -> dict[str, MethodSpec]:
        """Return all methods; packages are asked once."""
        if not self._has_looked:
            self._has_looked = True  # before a package is imported that asks in its turn
            for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
                self._plug_in(entry)
        return self._specs

    def _plug_in(self, entry: EntryPoint) -> None:
        """Add the method of an entry point; one that cannot be used is left out, and told."""
        try:
            spec = entry.load()
            if not isinstance(spec, MethodSpec):
                raise UserError(f"its object must be a MethodSpec, got {type(spec).__name__}.")
            self.add(spec)
        except Exception as error:  # whatever a package does when it is imported
            log.warning("method %s is left out: %s (%s)", entry.name, error, entry.value)

    def __getitem__(self, name: str) -> MethodSpec:
        """Return the method of a name."""
        return self._all()[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a method of a name."""
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._all())

    def __len__(self) -> int:
        """Number of methods."""
        return len(self._all())
