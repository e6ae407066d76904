"""What a checkpoint's manifest must say; its files are compared with it by `checkpoints.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

# Says of a checkpoint that it holds networks and nothing that training goes on from.
WEIGHTS_ALONE: Final = "weights_alone"


def checked(
    manifest: Any, *, needed: Collection[str], networks: Collection[str]
) -> Mapping[str, Any]:
    """Return a manifest that says what all say.

    Args:
        manifest: what was read.
        needed: names of the files every checkpoint has that training goes on from.
        networks: those of any other.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(manifest, dict):
        raise ValueError(f"{type(manifest).__name__} in place of an object")
    step, stage, files = (manifest.get(name) for name in ("step", "stage", "files"))
    if type(step) is not int or step < 0:
        raise ValueError(f"no step: {str(step)[:80]!r}")
    if type(stage) is not int or stage not in (1, 2):
        raise ValueError(f"no stage: {str(stage)[:80]!r}")
    if not isinstance(manifest.get("architecture"), dict):
        raise ValueError("no architecture")
    if not isinstance(files, dict) or not all(map(_is_listed, files.items())):
        raise ValueError("no files by name with sha256 and bytes")
    wanted = networks if manifest.get(WEIGHTS_ALONE) is True else needed
    if missing := [name for name in wanted if name not in files]:
        raise ValueError(f"files without {', '.join(missing)}")
    return manifest


def _is_listed(entry: tuple[str, Any]) -> bool:
    """Whether a file of the folder is listed with what it must be."""
    name, facts = entry
    return (
        Path(name).name == name
        and isinstance(facts, dict)
        and isinstance(facts.get("sha256"), str)
        and type(facts.get("bytes")) is int
    )
