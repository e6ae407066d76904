"""A small ToyStreets for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.toystreets.write import write_toystreets


@pytest.fixture(scope="session")
def toystreets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder: `urbansyn` and `cityscapes`, three images each and four of val."""
    root = tmp_path_factory.mktemp("toystreets") / "data"
    write_toystreets(root, size=(96, 192), train=3, val=4, seed=3, workers=0)
    return root
