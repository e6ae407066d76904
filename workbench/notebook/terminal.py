"""Commands of `uda4inst` in a notebook, as one would type them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from uda4inst.errors import UserError
from workbench.notebook.shown import Text


def command(words: str, *, unless: str | Path | None = None) -> Text:
    """Run a command of `uda4inst` and return what it printed.

    Args:
        words: what stands behind `uda4inst`; quoted as in a shell.
        unless: a file or folder that the command would make: where it is, nothing is run.

    Raises:
        UserError: the command failed; its own message.
    """
    if unless is not None and Path(unless).exists():
        return Text(f"`uda4inst {words}`: {unless} is there already.")
    done = subprocess.run(
        [sys.executable, "-m", "uda4inst.cli", *shlex.split(words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise UserError(f"uda4inst {words}\n{said.removeprefix('error: ')}")
    return Text(f"```\n$ uda4inst {words}\n{done.stdout.rstrip()}\n```")
