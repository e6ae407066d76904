"""`uda4inst doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show versions, device and memory, and what is missing or broken with its remedy."""
    from uda4inst.doctor import examine

    findings = examine()
    if as_json:
        facts = [
            {"name": f.name, "state": f.state, "value": f.value, "remedy": f.remedy}
            for f in findings
        ]
        typer.echo(json.dumps(facts, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {"good": "green", "absent": "yellow", "broken": "red"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        value = finding.value + (f"\n{finding.remedy}" if finding.remedy else "")
        table.add_row(Text(finding.state, colors[finding.state]), finding.name, Text(value))
    Console().print(table)
