"""From the form's values to a started run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from uda4inst.errors import UserError
from uda4inst.training.schema import to_yaml
from workbench.pages.train.run_form import form_values
from workbench.services import Services
from workbench.ui.forms import overrides


def preview(services: Services, preset: str, values: Sequence[Any]) -> str:
    """Return the command for what the form holds, and what is wrong with it, as HTML."""
    try:
        changed = overrides(services.presets.fields, services.presets.resolved(preset), values)
        config = services.presets.configuration(preset, changed)
        taken = not services.runs.is_free(config.run.name)
    except UserError as error:
        return f'<p class="wb-problem" role="alert">{escape(str(error))}</p>'
    command = escape(services.presets.command(preset, changed))
    name = config.run.name
    warnings = [
        services.presets.missing_data(config),
        f"A run {name!r} exists already: change the run's name." if taken else None,
    ]
    notes = "".join(f'<p class="wb-warn">{escape(text)}</p>' for text in warnings if text)
    return f'<code class="wb-command">{command}</code>{notes}'


def start(services: Services, preset: str, values: Sequence[Any]) -> str:
    """Start a run with the form's values and return its name.

    Raises:
        UserError: a value is wrong, the data are missing, or the name is taken.
    """
    changed = overrides(services.presets.fields, services.presets.resolved(preset), values)
    config = services.presets.configuration(preset, changed)
    missing = services.presets.missing_data(config)
    if missing is not None:
        raise UserError(f"data must be there before training: {missing}")
    services.jobs.start(config.run.name, to_yaml(config))
    return config.run.name


def fresh_values(services: Services, preset: str) -> list[Any]:
    """Return the form's values for a preset, under a name that is free."""
    fields = services.presets.fields
    values = form_values(fields, services.presets.resolved(preset))
    place = [field.key for field in fields].index("run.name")
    values[place] = free_name(services, str(values[place]))
    return values


def free_name(services: Services, wanted: str) -> str:
    """Return the name, or the next numbered one where it is taken."""
    stem = re.sub(r"_\d+$", "", wanted)
    name, number = wanted, 1
    while not services.runs.is_free(name):
        number += 1
        name = f"{stem}_{number}"
    return name
