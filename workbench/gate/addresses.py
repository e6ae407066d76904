"""The addresses that the page asks for; whatever else Gradio offers is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, urlencode

from workbench.address import PARAMETERS
from workbench.session import PageName

Kind = Literal["start", "login", "public", "private", "unknown"]

LOGIN: Final = "/login"
# Gradio's own files, and whether the app that answers is still the one that made the page.
_PUBLIC: Final = ("/theme.css", "/favicon.ico", "/robots.txt", "/gradio_api/app_id")
_PUBLIC_FOLDERS: Final = ("/assets/", "/static/", "/svelte/")
_FILE: Final = "/gradio_api/file="
_PRIVATE: Final[dict[str, tuple[str, ...]]] = {
    "GET": ("/config", "/gradio_api/queue/data", "/gradio_api/heartbeat/", _FILE),
    "POST": ("/gradio_api/queue/join", "/gradio_api/cancel"),
}
# What Gradio would take for a page of its own, or for something that was saved.
_MISTAKEN: Final = frozenset({"page", "deep_link"})
# What the start page's address may ask of Gradio or of the app.
_UNDERSTOOD: Final = PARAMETERS | {"__theme", "__lang", "view", "footer"}
UNKNOWN: Final = "unknown"


def kind_of(method: str, path: str) -> Kind:
    """Return what is at an address for a method."""
    reads = method in ("GET", "HEAD")
    if path == "/" and reads:
        return "start"
    if path == LOGIN and method == "POST":
        return "login"
    if reads and (path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS)):
        return "public"
    if any(_is_at(path, known) for known in _PRIVATE.get("GET" if reads else method, ())):
        return "private"
    return "unknown"


def is_served(path: str, folder: Path) -> bool:
    """Whether an address may be answered: a file only where it lies in the app's own folder.

    Args:
        path: of the address, decoded.
        folder: of the pictures and reports that the app has made.
    """
    if not path.startswith(_FILE):
        return True
    try:
        place = os.path.realpath(path.removeprefix(_FILE))
    except ValueError:
        return False
    return Path(place).is_relative_to(os.path.realpath(folder))


def for_gradio(query: bytes) -> bytes:
    """Return the start page's query without what Gradio would stumble over."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([pair for pair in pairs if pair[0] not in _MISTAKEN]).encode("latin-1")


def start_page_instead_of(path: str) -> str:
    """Return where a person is led who asks for another address: to the page that it names, if any.

    Example:
        >>> start_page_instead_of("/error-maps"), start_page_instead_of("/x")
        ('/?tab=error-maps', '/?unknown=%2Fx')
    """
    name = path.strip("/")
    if name.replace("-", "_") in get_args(PageName):
        return "/?" + urlencode({"tab": name.replace("_", "-")})
    return "/?" + urlencode({UNKNOWN: path[:200]})


def not_understood(query: str) -> str:
    """Return what the start page's query asks for and nobody knows; "" where all is known.

    Example:
        >>> not_understood("__theme=light"), not_understood("page=mixing")
        ('', '?page=mixing')
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    led_here = [value for name, value in pairs if name == UNKNOWN]
    strange = [pair for pair in pairs if pair[0] not in _UNDERSTOOD]
    if led_here:
        return led_here[0][:200]
    return f"?{urlencode(strange)}"[:200] if strange else ""


def _is_at(path: str, known: str) -> bool:
    """Whether an address is a known one, or below a known one that goes on."""
    return path.startswith(known) if known.endswith(("/", "=")) else path == known
