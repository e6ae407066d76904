"""The command line's reference: `{commands} uda4inst` shows every command from the CLI itself.

Commands that other packages plug in are there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer.main
from site_text import MadeDirective, code, escape, fence
from sphinx.application import Sphinx

from uda4inst.cli import app as command_line
from workbench.gate.options import make_parser

TYPES = {str: "text", int: "integer", float: "number", Path: "path"}


@dataclass(frozen=True)
class Parameter:
    """An argument or an option as its reference shows it."""

    name: str
    value: str
    facts: tuple[str, ...]
    help: str
    is_option: bool


@dataclass(frozen=True)
class Command:
    """A command as its reference shows it."""

    name: str
    usage: str
    help: str
    parameters: tuple[Parameter, ...]


def value_of(annotation: Any) -> str:
    """Return what a parameter takes, in a word; empty for a switch."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is bool:
        return ""
    if origin in (Union, UnionType):
        return " or ".join(value_of(part) for part in inner if part is not NoneType)
    if origin is Literal:
        return "|".join(str(choice) for choice in inner)
    if origin in (list, tuple):
        return value_of(inner[0])
    return TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def argument_name(parameter: Any) -> str:
    """Return the name of an argument as usage has it."""
    plain = (parameter.metavar or parameter.name.upper()).strip("[].").rstrip("]")
    many = f"{plain}..." if parameter.nargs != 1 else plain
    return many if parameter.required else f"[{many}]"


def parameter_of(parameter: Any) -> Parameter:
    """Return the entry of an argument or option."""
    is_option = parameter.param_type_name == "option"
    value = value_of(parameter.type_descriptor.annotation)
    facts: list[str] = []
    if parameter.min is not None or parameter.max is not None:
        ends = [f"from {parameter.min}", f"to {parameter.max}"]
        facts.append(" ".join(end for end in ends if not end.endswith("None")))
    if parameter.required and is_option:
        facts.append("required")
    if parameter.multiple and "be repeated" not in (parameter.help or ""):
        facts.append("may be repeated")
    default = parameter.default
    if value and default not in (None, "") and not callable(default):
        facts.append(f"default {code(str(default))}")
    name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return Parameter(
        name=name if is_option else argument_name(parameter),
        value=value,
        facts=tuple(facts),
        help=parameter.help or "",
        is_option=is_option,
    )


def commands_below(command: Any, name: str, context: Any) -> Iterator[Command]:
    """Yield a command, or all that lie in a group of them."""
    if hasattr(command, "list_commands"):
        inner = type(context)(command, parent=context, info_name=name)
        for key in command.list_commands(inner):
            yield from commands_below(command.get_command(inner, key), f"{name} {key}", inner)
        return
    shown = [p for p in command.params if not p.hidden and p.name != "help"]
    parameters = tuple(parameter_of(p) for p in shown)
    arguments = [p.name for p in parameters if not p.is_option]
    usage = " ".join([name, *arguments, *(["[OPTIONS]"] if len(arguments) < len(shown) else [])])
    yield Command(name, usage, command.help or "", parameters)


def all_commands() -> list[Command]:
    """Return every command, in the order of the command line's own help."""
    root = typer.main.get_command(command_line)
    name = command_line.info.name or "uda4inst"
    context = root.make_context(name, [], resilient_parsing=True)
    return list(commands_below(root, name, context))


def workbench_command() -> Command:
    """Return the entry of `python app.py`."""
    parser = make_parser()
    parameters: list[Parameter] = []
    for action in parser._actions:
        if action.dest == "help":
            continue
        repeated = isinstance(action.default, list)
        facts = ["may be repeated"] if repeated else []
        if action.default is not None and not repeated:
            facts.append(f"default {code(str(action.default))}")
        parameters.append(
            Parameter(
                name=", ".join(action.option_strings),
                value=str(action.metavar or TYPES.get(action.type or str, "text")).lower(),
                facts=tuple(facts),
                help=action.help or "",
                is_option=True,
            )
        )
    help_text = "Opens the workbench in the browser, from the folder of the repository."
    return Command(parser.prog, f"{parser.prog} [OPTIONS]", help_text, tuple(parameters))


def as_markdown(command: Command) -> str:
    """Return a command's section as Markdown."""
    parts = [f"## {code(command.name)}\n", f"```text\n{command.usage}\n```\n"]
    parts += [escape(command.help) + "\n", fence("program", command.name, "")]
    arguments = [p for p in command.parameters if not p.is_option]
    for p in arguments:
        parts.append(f"- {code(p.name)} ({', '.join([p.value, *p.facts])}): {escape(p.help)}")
    parts.append("")
    for p in command.parameters:
        if p.is_option:
            signature = f"{p.name} <{p.value}>" if p.value else p.name
            facts = "; ".join(p.facts)
            end = f" {facts[0].upper()}{facts[1:]}." if facts else ""
            parts.append(fence("option", signature, f"{escape(p.help)}{end}"))
    return "\n".join(parts)


class CommandsReference(MadeDirective):
    """All commands, a section each."""

    def made(self) -> str:
        """Return a section a command."""
        return "\n".join(map(as_markdown, [*all_commands(), workbench_command()]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_directive("commands", CommandsReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
