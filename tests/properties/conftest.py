"""How many examples: a few that are always the same, or with PROPERTIES=soak many new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_UNHURRIED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "short",
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=10_000,
    suppress_health_check=_UNHURRIED,
)
settings.register_profile(
    "soak",
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "2000")),
    database=None,
    deadline=10_000,
    print_blob=True,
    suppress_health_check=_UNHURRIED,
)
settings.load_profile(os.environ.get("PROPERTIES", "short"))
