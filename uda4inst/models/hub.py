"""Checkpoints in the format of `transformers`: a folder, or a name on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from uda4inst.errors import UserError

HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_Loaded = TypeVar("_Loaded")


def read_checkpoint(name: str, read: Callable[[bool], _Loaded]) -> _Loaded:
    """Return what `read` makes of a checkpoint; a cached copy if there is one.

    Args:
        name: folder or hub name, for messages.
        read: loads it; told whether to look at this machine alone.

    Raises:
        UserError: it cannot be read; the message says what to do.
    """
    try:
        if Path(name).is_dir():
            if not (Path(name) / "config.json").is_file():
                # the library would go on with its default configuration
                raise FileNotFoundError("no config.json in it")
            return read(True)
        try:  # with the network down, asking the hub first would take a minute of retries
            return read(True)
        except OSError:
            return read(False)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise _unreadable(name, error) from error


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keep the library's bars and tables off the console: our report says it in one line."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def differing_fields(theirs: object, ours: object, fields: tuple[str, ...]) -> list[str]:
    """Name the fields in which two configurations differ, with both values."""
    return [
        f"{field} is {got}, not {wanted}"
        for field in fields
        if (got := _plain(getattr(theirs, field, None)))
        != (wanted := _plain(getattr(ours, field, None)))
    ]


def _unreadable(name: str, error: Exception) -> UserError:
    """Explain why a checkpoint in the library's format could not be read."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    remedy = (
        "The folder needs config.json and a complete model.safetensors."
        if Path(name).is_dir()
        else (
            "The hub cannot be reached or has no such checkpoint, and it is not in the local "
            f"cache. On a machine with network run `hf download {name} --local-dir FOLDER`, then "
            "set model.weights=FOLDER; or start fresh with model.weights=null."
        )
    )
    return UserError(f"model.weights must be readable, got {name} ({first_line}). {remedy}")


def _plain(value: object) -> object:
    """Make lists and tuples comparable."""
    return tuple(value) if isinstance(value, (list, tuple)) else value
