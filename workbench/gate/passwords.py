"""Passwords: from a file, or asked for on the terminal; kept in memory alone."""

from __future__ import annotations

import getpass
import hmac
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError
from uda4inst.reading import read_text

# NIST SP 800-63B, section 5.1.1.1: a password that a person chooses has at least eight characters.
_SHORTEST: Final = 8
_FORM: Final = "one user:password a line, '#' before comments"


def read_passwords(path: Path) -> dict[str, str]:
    """Return the passwords in a file, by user.

    Args:
        path: a line a user, as user:password; lines that are empty or begin with "#" say nothing.

    Raises:
        UserError: others can read the file, a line is no such line, or a password is too short.
    """
    try:
        mode = path.stat().st_mode
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--auth-file must be a readable text ({_FORM}), got {error}.") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            f"--auth-file must be its owner's alone, got mode {stat.S_IMODE(mode):o} ({path}). "
            f"chmod 600 {path}"
        )
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        user, colon, password = line.partition(":")
        user = user.strip()
        if not colon or not user or user in found:
            raise UserError(
                f"--auth-file must have {_FORM}, each user once, got another line "
                f"({path}, line {number}). Correct it."
            )
        found[user] = _long_enough(password, f"of {user} ({path}, line {number})")
    if not found:
        raise UserError(f"--auth-file must have {_FORM}, got no user ({path}). Add one.")
    return found


def ask_password() -> dict[str, str]:
    """Return the password a person types for this start, under the account's own name.

    Nothing where there is no terminal to ask on.

    Raises:
        UserError: it is too short, or nothing was typed.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return {}
    user = getpass.getuser()
    try:
        typed = getpass.getpass(f"Password for user {user} of the workbench, for this start: ")
    except EOFError:
        typed = ""
    return {user: _long_enough(typed, f"of {user}")}


def is_right(passwords: Mapping[str, str], user: str, password: str) -> bool:
    """Whether a user has a password; it takes as long for users that there are not."""
    known = passwords.get(user)
    same = hmac.compare_digest((known or "").encode(), password.encode())
    return same and known is not None


def _long_enough(password: str, whose: str) -> str:
    if len(password) < _SHORTEST:
        raise UserError(
            f"a password must have at least {_SHORTEST} characters, got {len(password)} {whose}. "
            "Choose a longer one."
        )
    return password
