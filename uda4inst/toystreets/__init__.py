"""ToyStreets: procedural street scenes in three domains over one world model."""

from uda4inst.toystreets.render import Scene, render_scene, scene_layout
from uda4inst.toystreets.styles import PARTS
from uda4inst.toystreets.world import Layout, ToyDomain

__all__ = ["PARTS", "Layout", "Scene", "ToyDomain", "render_scene", "scene_layout"]
