"""All suites by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from uda4inst.suites.definition import Suite
from uda4inst.suites.own_tables import (
    ALIGNMENT,
    BALANCE,
    EXTENSIONS,
    THRESHOLD_SWEEP,
)
from uda4inst.suites.paper_tables import TABLE1, TABLE2, TABLE3, TABLE4, TABLE5
from uda4inst.suites.semantic_tables import (
    DAFORMER,
    EHTDI,
    META_PSEUDO_LABELS,
    SEMANTIC_BOUNDS,
    SEMANTIC_METHODS,
)

SUITES: Final[Mapping[str, Suite]] = {
    suite.name: suite
    for suite in (
        TABLE1,
        TABLE2,
        TABLE3,
        TABLE4,
        TABLE5,
        THRESHOLD_SWEEP,
        ALIGNMENT,
        EXTENSIONS,
        BALANCE,
        SEMANTIC_BOUNDS,
        DAFORMER,
        EHTDI,
        META_PSEUDO_LABELS,
        SEMANTIC_METHODS,
    )
}
