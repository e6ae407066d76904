"""What the reference pages are made of: commands, settings, documented modules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from uda4inst.models.memory import FILE
from uda4inst.settings import Settings
from workbench.gate.options import make_parser

pytest.importorskip("sphinx", reason="the extra docs is not installed")

import site_api
import site_commands
import site_settings
import site_text


class Example(Settings):
    count: int = Field(3, ge=1, le=20_000, description="Images a step (paper: 3).")
    share: float | None = Field(None, gt=0, lt=1, description="Share (ours). Empty: all (paper).")
    mode: Literal["left", "right"] = Field("left", description="Which side.")
    sizes: tuple[int, ...] = Field((1, 2), min_length=1, description="Sizes.")
    root: str = Field(description="Folder.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count", ("integer", "from 1 to 20,000", "3", ("the paper",))),
        ("share", ("number | null", "above 0 below 1", "null", ("ours", "the paper"))),
        ("mode", ("left | right", "", "left", ())),
        ("sizes", ("list of integers", "not empty", "[1, 2]", ())),
        ("root", ("text", "", "required", ())),
    ],
)
def test_setting_of__type_range_default_source(
    name: str, expected: tuple[str, str, str, tuple[str, ...]]
) -> None:
    found = site_settings.setting_of(name, Example.model_fields[name])
    assert (found.type, found.range, found.default, found.sources) == expected


@pytest.mark.parametrize(
    ("description", "sources"),
    [
        ("A pixel surer than this (EHTDI: 0.95).", ("EHTDI",)),
        ("A pixel is sure (DACS, DAFormer: 0.968).", ("DACS", "DAFormer")),
        ("Rows that do not count (DAFormer's code: 15 and 120 of 512).", ("DAFormer",)),
        ("SegFormer (mit_) and DAFormer (daformer_) with this encoder.", ()),
        ("Weight of the old teacher (papers: 0.999, DACS: 0.99).", ("the paper", "DACS")),
    ],
)
def test_sources_of__other_methods(description: str, sources: tuple[str, ...]) -> None:
    assert site_settings.sources_of(description) == sources


def test_memory_table__is_what_was_counted() -> None:
    page = (Path(__file__).parents[2] / "docs/gpu.md").read_text(encoding="utf-8")
    counted = json.loads(FILE.read_text(encoding="utf-8"))["networks"]
    kinds = ("bf16", "bf16, checkpointed", "fp32", "fp32, checkpointed")
    for preset, memory in counted.items():
        shown = " | ".join(f"{memory['gib_per_megapixel'][kind]:.2f}" for kind in kinds)
        assert f"\n| {preset} | {shown} |\n" in page


def test_all_groups__have_every_setting_once_a_method() -> None:
    groups = site_settings.all_groups()
    names = [setting.name for group in groups for setting in group.settings]
    assert {"seed", "data.source.root", "data.target.ego_vehicle", "optim.lr"} <= set(names)
    assert {"method.pool.size", "method.mixing.t2s", "method.name", "method.groups"} <= set(names)
    twice = {name for name in names if names.count(name) > 1}
    assert "method.lab_alignment" in twice  # of two methods
    assert {name.split(".")[0] for name in twice} == {"method"}
    assert "all settings of data.source" in {g.name: g.description for g in groups}["data.val"]


def test_all_groups__describe_every_setting() -> None:
    settings = [s for group in site_settings.all_groups() for s in group.settings]
    assert [s.name for s in settings if not s.description or not s.type] == []


def test_range_of__reaches_into_lists() -> None:
    settings = {s.name: s for group in site_settings.all_groups() for s in group.settings}
    assert settings["data.crop"].range == "from 32 to 8192"
    assert settings["data.crop"].type == "[integer, integer]"


def test_all_commands__own_and_plugged_in() -> None:
    commands = {command.name: command for command in site_commands.all_commands()}
    assert {"uda4inst train", "uda4inst data check", "uda4inst inspect run"} <= set(commands)
    assert commands["uda4inst train"].usage == "uda4inst train CONFIG [KEY=VALUE...]"
    assert commands["uda4inst resume"].usage == "uda4inst resume RUN [KEY=VALUE...] [OPTIONS]"


def test_workbench_command__every_option_as_its_help_has_it() -> None:
    options = {p.name: p for p in site_commands.workbench_command().parameters}
    assert set(options) == {
        word for action in make_parser()._actions for word in action.option_strings
    } - {"-h", "--help"}
    assert options["--port"].facts == ("default `7860`",)
    assert (options["--port"].value, options["--auth-file"].value) == ("integer", "file")
    assert options["--allowed-host"].facts == ("may be repeated",)
    assert all(option.help for option in options.values())


@pytest.mark.parametrize("page", ["docs/howto/workbench.md", "SECURITY.md"])
def test_workbench_pages__name_options_that_there_are(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    known = {p.name for p in site_commands.workbench_command().parameters}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--version"}
    assert named
    assert named <= known


def test_all_commands__options_with_value_range_and_default() -> None:
    commands = {command.name: command for command in site_commands.all_commands()}
    options = {p.name: p for p in commands["uda4inst predict"].parameters}
    threshold = options["--score-threshold"]
    assert (threshold.value, threshold.facts) == ("number", ("from 0 to 1", "default `0.5`"))
    assert options["--network"].value == "best|student|teacher"
    switches = {p.name: p for p in commands["uda4inst suite"].parameters}
    assert (switches["--reuse"].value, switches["--reuse"].facts) == ("", ())
    assert switches["--set"].facts == ("may be repeated",)


def test_modules_of__a_package_or_a_module() -> None:
    ops = site_api.modules_of("uda4inst.ops")
    assert {"uda4inst.ops.masks", "uda4inst.ops.paste"} <= set(ops)
    assert "uda4inst.ops" not in ops  # only its docstring
    assert site_api.modules_of("uda4inst.structures") == ["uda4inst.structures"]


def test_escape__shows_text_and_keeps_code() -> None:
    assert site_text.escape("a_b* under --root") == r"a\_b\* under `--root`"
    assert site_text.escape("of `a_b`") == "of `a_b`"


def test_fence__holds_what_holds_fences() -> None:
    inner = site_text.fence("option", "--root", "Folder.")
    outer = site_text.fence("note", "", inner)
    assert inner.startswith("```{option} --root\n")
    assert outer.startswith("````{note}")
