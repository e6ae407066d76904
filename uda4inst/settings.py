"""What every part of a configuration is: unknown keys are errors, values never change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A group of settings; each field carries a description and its range, for the app's form."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
