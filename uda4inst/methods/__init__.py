"""The methods, by name. To add one: its file, one line here, one YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from uda4inst.methods.base import Method
from uda4inst.methods.oracle import Oracle
from uda4inst.methods.source_only import SourceOnly
from uda4inst.methods.uda4inst import UDA4Inst

METHODS: Final[Mapping[str, Callable[..., Method]]] = {
    "source_only": SourceOnly,
    "oracle": Oracle,
    "uda4inst": UDA4Inst,
}
