"""Trees with a fake renderer's pictures."""

from __future__ import annotations

from fake_trees import fake_render, own_tree, tree

__all__ = ["fake_render", "own_tree", "tree"]
