"""Trees with a fake renderer's pictures, and configurations that read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_trees import fake_render, own_tree, tree

from uda4inst.data.config import DataConfig
from uda4inst.toystreets.write import ToyStreetsTree

__all__ = ["fake_render", "own_tree", "tree"]


@pytest.fixture(scope="session")
def make_config() -> Callable[..., DataConfig]:
    """Configuration of a tree: 32x64 crops of its 48x96 images, all augmentation on."""

    def make(tree: ToyStreetsTree, **changes: object) -> DataConfig:
        target = {"format": "cityscapes", "root": str(tree.target_root)}
        values: dict[str, object] = {
            "source": {"format": "urbansyn", "root": str(tree.source_root)},
            "target": {**target, "split": "train"},
            "val": {**target, "split": "val"},
            "crop": (32, 64),
            "short_sides": (40, 48, 60),
        }
        return DataConfig.model_validate(values | changes)

    return make
