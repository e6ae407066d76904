"""From the form's values to a started run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from uda4inst.errors import UserError
from uda4inst.training.schema import to_yaml
from workbench.services import Services
from workbench.ui.forms import form_values, overrides


def preview(services: Services, preset: str, values: Mapping[str, object]) -> str:
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


def start(services: Services, preset: str, values: Mapping[str, object]) -> str:
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


def fresh_values(services: Services, preset: str) -> dict[str, object]:
    """Return the form's values for a preset by name, under a run name that is free."""
    values = form_values(services.presets.fields, services.presets.resolved(preset))
    return values | {"run.name": free_name(services, str(values["run.name"]))}


def free_name(services: Services, wanted: str) -> str:
    """Return the name, or the next numbered one where it is taken."""
    return services.runs.free_name(wanted, stem=re.sub(r"_\d+$", "", wanted))
