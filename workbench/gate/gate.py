"""What every request passes before it reaches the app.

Browsers let any page on the web send requests to this machine. They say truthfully where a request
comes from (`Host`, `Origin`, `Sec-Fetch-Site`) and keep cookies apart by site; on these rests what
is checked here: own names and own pages alone, a key for all that shows or changes something, and
no more of Gradio than the page asks for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.gate.addresses import for_gradio, is_served, kind_of, start_page_instead_of
from workbench.gate.doors import Doors
from workbench.gate.exposure import Exposure
from workbench.gate.login_page import login_page

# The largest thing a page sends is what a tick compares: tables and charts as HTML.
MOST_BYTES: Final = 16 * 2**20
_LOGIN_BYTES: Final = 4096
_GONE: Final[Message] = {"type": "http.disconnect"}
# Markup that got past everything else may load nothing and send nothing to anybody else; frames
# are FiftyOne's. Gradio's page needs inline code.
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "frame-src http://127.0.0.1:* http://localhost:*",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """An ASGI application before another.

    Args:
        app: what is behind it.
        exposure: under which names it answers.
        doors: who has a key.
        folder: the only one from which files are served.
    """

    def __init__(self, app: ASGIApp, *, exposure: Exposure, doors: Doors, folder: Path) -> None:
        self._app = app
        self._exposure = exposure
        self._doors = doors
        self._folder = folder
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End what browsers hold open, as if they had gone."""
        self._closed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the app speaks HTTP alone
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        answer = await self._answer(request)
        cookie = ""
        if answer is None and scope["path"] == "/":
            scope = {**scope, "query_string": for_gradio(scope["query_string"])}
            cookie = "" if self._doors.are_locked else self._doors.open_cookie()
        await (answer or self._app)(
            scope, _bounded(receive, self._closed), _with_headers(send, cookie)
        )

    async def _answer(self, request: Request) -> Response | None:
        """Return what is answered here; None for what goes through."""
        foreign = why_foreign(request, self._exposure)
        if foreign:
            return _refused(403, foreign)
        kind = kind_of(request.method, request.url.path)
        if kind == "unknown" or (kind == "login" and not self._doors.are_locked):
            return _not_there(request)
        if int(_digits(request.headers.get("content-length"))) > MOST_BYTES:
            return _refused(413, f"a request must have at most {MOST_BYTES >> 20} MiB")
        if kind == "login":
            return await self._log_in(request)
        has_key = self._doors.has_key(request.headers.get("cookie", ""))
        if kind == "public" or has_key:
            inside = kind != "private" or is_served(request.scope["path"], self._folder)
            return None if inside else _refused(403, "only what the app has made is served")
        if kind == "start":
            return HTMLResponse(login_page(), 401) if self._doors.are_locked else None
        return _refused(403, "this needs the key of this start of the app: open its page again")

    async def _log_in(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LOGIN_BYTES:
                return _refused(413, "a login must be short")
        fields = parse_qs(body.decode("utf-8", "replace"))
        user, password = (fields.get(name, [""])[0] for name in ("user", "password"))
        cookie = await self._doors.log_in(user, password)
        if cookie is None:
            return HTMLResponse(login_page(is_wrong=True), 401)
        return RedirectResponse("/", 303, headers={"set-cookie": cookie})


def why_foreign(request: Request, exposure: Exposure) -> str:
    """Return why a request is not from the app's own page under an own name; "" where it is."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not exposure.answers_to(hosts[0]):
        return "the app does not answer to this name: --allowed-host adds one"
    for name in ("x-forwarded-host", "x-gradio-server"):  # Gradio builds addresses from these
        for value in request.headers.getlist(name):
            if not all(exposure.answers_to(_authority(part)) for part in value.split(",")):
                return f"{name} is none of the app's names"
    if any(_authority(one) != hosts[0].lower() for one in request.headers.getlist("origin")):
        return "requests of other pages are refused"
    headers = request.headers
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (
        request.method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    ):
        return "requests of other pages are refused"
    return ""


def _authority(origin: str) -> str:
    """Return name and port of an origin or a bare authority."""
    return origin.strip().lower().partition("://")[2] or origin.strip().lower()


def _not_there(request: Request) -> Response:
    """Lead a person who asks for a page to the start page, and tell a program."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(start_page_instead_of(request.scope["path"]), 303)
    return _refused(404, "the app has nothing at this address")


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"detail": f"{why[0].upper()}{why[1:]}."}, status)


def _digits(value: str | None) -> str:
    return value if value and value.isascii() and value.isdigit() else "0"


def _bounded(receive: Receive, closed: asyncio.Event) -> Receive:
    """Return what receives a request; it ends one that is too large, and all when the app does."""
    left, is_whole = MOST_BYTES, False

    async def bounded() -> Message:
        nonlocal left, is_whole
        message = await (_or_closed(receive, closed) if is_whole else receive())
        left -= len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        return message if left >= 0 else _GONE

    return bounded


async def _or_closed(receive: Receive, closed: asyncio.Event) -> Message:
    """Return that the browser has gone, when it has or when the app ends."""
    told, ended = asyncio.ensure_future(receive()), asyncio.ensure_future(closed.wait())
    try:
        await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
        return told.result() if told.done() else _GONE
    finally:
        told.cancel()
        ended.cancel()


def _with_headers(send: Send, cookie: str) -> Send:
    """Return what sends an answer, with what tells the browser to be careful, and a cookie."""

    async def careful(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            if cookie:
                headers.append("set-cookie", cookie)
        await send(message)

    return careful
