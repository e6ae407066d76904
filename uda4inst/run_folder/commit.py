"""Which code is at work: the commit of its checkout, or of the repository it was installed from."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from uda4inst.reading import parse_json

_LENGTH: Final = 12
_PACKAGE: Final = "uda4inst"


def current_commit(package: Path = Path(__file__).parents[1]) -> str | None:
    """Return the commit of the code, marked when its checkout has changes; None if not known.

    A package that lies in somebody else's checkout, as in a virtual environment there, is none of
    its files and has none of its commits.

    Args:
        package: folder of the code.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return _installed_commit()
    return _git(package, "describe", "--always", "--dirty", f"--abbrev={_LENGTH}")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says about a folder; None where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _installed_commit() -> str | None:
    """Return the commit that pip noted when it installed the package from a repository."""
    try:
        noted = metadata.distribution(_PACKAGE).read_text("direct_url.json")
        commit = parse_json(noted or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(commit)[:_LENGTH] if commit else None
