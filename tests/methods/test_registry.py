"""Methods of other packages and of scripts: found when asked for, and a broken one hurts nobody."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Literal

import pytest

from uda4inst.errors import UserError
from uda4inst.methods import METHODS, oracle, register, registry, source_only
from uda4inst.methods.base import MethodConfig
from uda4inst.methods.registry import Methods


class MineConfig(MethodConfig):
    name: Literal["mine"] = "mine"  # pyright: ignore[reportIncompatibleVariableOverride]


class NamelessConfig(MethodConfig):
    name: str = "nameless"


MINE = replace(source_only.SPEC, config=MineConfig)
NAMELESS = replace(source_only.SPEC, config=NamelessConfig)


@pytest.fixture
def methods() -> Methods:
    return Methods({"oracle": oracle.SPEC})


def plug_in(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Pretend that a package brings a method."""
    entry = EntryPoint("mine", value, registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])


def test_methods__own_ones_first_then_registered(methods: Methods) -> None:
    methods.add(MINE)
    assert list(methods) == ["oracle", "mine"]
    assert methods["mine"] is MINE
    assert methods.close() == (oracle.OracleConfig, MineConfig)


def test_methods__of_a_package_are_found(methods: Methods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "of_my_own", sys.modules[__name__])
    plug_in(monkeypatch, "of_my_own:MINE")
    assert dict(methods) == {"oracle": oracle.SPEC, "mine": MINE}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no.such.module:SPEC", "No module named 'no'"),
        ("uda4inst.methods.oracle:Oracle", "its object must be a MethodSpec, got type"),
        ("uda4inst.methods.oracle:SPEC", "a method's name must be new, got 'oracle'"),
    ],
    ids=["not-there", "not-a-spec", "taken"],
)
def test_methods__a_broken_package_is_left_out_and_told(
    methods: Methods,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str,
    reason: str,
) -> None:
    plug_in(monkeypatch, value)
    with caplog.at_level(logging.WARNING):
        assert list(methods) == ["oracle"]
    assert f"method mine is left out: {reason}" in caplog.text
    assert f"({value})" in caplog.text


def test_add__refuses_a_name_that_is_taken(methods: Methods) -> None:
    with pytest.raises(UserError, match="name must be new, got 'oracle'"):
        methods.add(oracle.SPEC)


def test_add__refuses_a_configuration_without_a_name(methods: Methods) -> None:
    with pytest.raises(UserError, match="got NamelessConfig without"):
        methods.add(NAMELESS)


def test_register__is_refused_once_configurations_are_fixed() -> None:
    import uda4inst.training.config  # noqa: F401 fixes them

    with pytest.raises(UserError, match=r"before uda4inst\.training is imported"):
        register(MINE)
    assert "mine" not in METHODS
