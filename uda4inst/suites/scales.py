"""How large the runs of a suite are: read from `scales.yaml`, which is the place to tune them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from uda4inst.yaml_dialect import parse_yaml

_FILE: Final = resources.files("uda4inst") / "suites" / "scales.yaml"


@dataclass(frozen=True, slots=True)
class SceneSets:
    """ToyStreets trees of which each is drawn from a seed of its own, train and val apart.

    Args:
        folder: of the trees; each lies in a folder named by its seed.
        default: those of a suite that names none.
        train: images in each domain's train split.
        val: images in the val split, at the least.
        val_objects: judged objects of every class in the val split, at the least.
    """

    folder: str
    default: tuple[int, ...]
    train: int
    val: int
    val_objects: int

    def tree(self, scenes: int) -> Path:
        """Return the folder of a scene set."""
        return Path(self.folder) / str(scenes)


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale.

    Args:
        name: smoke, toy or paper.
        text: what its numbers are worth.
        presets: configuration by benchmark; rows of other benchmarks are not run.
        settings: values by dotted name, for every run; `{scenes}` is the scene set's folder.
        suites: more of them by suite, over those of the rows.
        under: more of them by suite, and by "suite/row", under those of the rows.
        make_data: the command that makes its data; empty where they must be fetched.
        scenes: the scene sets it is run on; None where it has one data set a benchmark.
        rehearsal: whether its runs only show that they run: no gap is said of their numbers, and
            no difference between them is marked.
    """

    name: str
    text: str
    presets: Mapping[str, str]
    settings: Mapping[str, Any]
    suites: Mapping[str, Mapping[str, Any]]
    under: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    make_data: str = ""
    scenes: SceneSets | None = None
    rehearsal: bool = False

    def settings_on(self, scenes: int | None) -> dict[str, Any]:
        """Return the settings for runs on a scene set."""
        if self.scenes is None or scenes is None:
            return dict(self.settings)
        tree = str(self.scenes.tree(scenes))
        return {
            key: value.replace("{scenes}", tree) if isinstance(value, str) else value
            for key, value in self.settings.items()
        }


def load_scales() -> dict[str, Scale]:
    """Return the scales by name."""
    values = parse_yaml(_FILE.read_text(encoding="utf-8"))
    return {name: _read(name, fields) for name, fields in values.items()}


def _read(name: str, fields: dict[str, Any]) -> Scale:
    """Return one scale of the file."""
    scenes = fields.pop("scenes", None)
    if scenes is not None:
        scenes = SceneSets(**scenes | {"default": tuple(scenes["default"])})
    return Scale(name, **fields, scenes=scenes)


def find_scale(name: str) -> Scale:
    """Return a scale by its name.

    Raises:
        UserError: there is none of that name.
    """
    scales = load_scales()
    if name not in scales:
        raise UserError(f"--scale must be one of {', '.join(scales)}, got {name!r}.")
    return scales[name]
