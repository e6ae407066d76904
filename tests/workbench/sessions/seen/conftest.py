from __future__ import annotations

from collections.abc import Callable

import pytest
from seen_run import PIXEL_OPTIONS, Trained, train_and_keep_views


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, short_run: Callable[..., list[str]]
) -> Trained:
    """A short run, left as it is."""
    return train_and_keep_views(tmp_path_factory.mktemp("seen"), short_run)


@pytest.fixture(scope="session")
def pixels_trained(
    tmp_path_factory: pytest.TempPathFactory, short_run: Callable[..., list[str]]
) -> Trained:
    """A short run that learned the class of every pixel, left as it is."""
    return train_and_keep_views(
        tmp_path_factory.mktemp("seen_pixels"),
        short_run,
        preset="toystreets_semantic_smoke",
        options=PIXEL_OPTIONS,
    )
