"""Ranges that options of several commands share."""

from __future__ import annotations

from typing import Final

# More processes than any one machine has use for.
MOST_WORKERS: Final = 1024
# What NumPy and torch take alike.
MOST_SEED: Final = 2**32 - 1
