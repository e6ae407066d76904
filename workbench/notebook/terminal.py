"""Commands of `uda4inst` in a notebook, as one would type them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError
from workbench.notebook.shown import Text

_COLORED: Final = frozenset({"CLICOLOR_FORCE", "FORCE_COLOR", "TTY_COMPATIBLE"})


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
    # A kernel tells its children that their output is coloured; here it is text.
    plain = {key: value for key, value in os.environ.items() if key not in _COLORED}
    done = subprocess.run(
        [sys.executable, "-m", "uda4inst.cli", *shlex.split(words)],
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise UserError(f"uda4inst {words}\n{said.removeprefix('error: ')}")
    return Text(f"```\n$ uda4inst {words}\n{done.stdout.rstrip()}\n```")
