"""The commands of `uda4inst inspect`, which an entry point plugs in."""

from workbench.sessions.commands.app import inspect_app

__all__ = ["inspect_app"]
