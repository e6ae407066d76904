"""The one error type for everything a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake outside the program: a tree, file, configuration, checkpoint or name.

    The message says what is wrong, where, and what to do. The command line prints it alone and
    exits with code 2; the app shows it and goes on.
    """
