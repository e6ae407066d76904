"""Keys: a cookie without which nothing of the app is shown or changed, and how one gets it."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from starlette.requests import cookie_parser

from workbench.gate.passwords import is_right

# A wrong password costs a second, and few may wait at once: guessing is slow.
_WRONG_SECONDS: Final = 1.0
_WAITING: Final = 8
_KEYS: Final = 1000


class Doors:
    """Gives out keys for one start of the app.

    Without passwords there is one key, and whoever opens the start page gets it: a page elsewhere
    cannot send it, because the browser keeps it from other sites' requests (`SameSite=Strict`).
    With passwords each login gets a key of its own.

    Args:
        passwords: by user; none for open doors.
        port: of the app, for a browser keeps cookies by host alone.
        is_secure: whether the key may travel by TLS alone.
    """

    def __init__(self, passwords: Mapping[str, str], *, port: int, is_secure: bool) -> None:
        self._passwords = passwords
        self._name = f"workbench-{port}"
        self._attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" * is_secure)
        self._keys: dict[str, None] = {secrets.token_urlsafe(32): None}
        self._waiting = 0

    @property
    def are_locked(self) -> bool:
        """Whether a password is needed."""
        return bool(self._passwords)

    def open_cookie(self) -> str:
        """Return the cookie with the key of open doors."""
        return self._cookie(next(iter(self._keys)))

    def has_key(self, cookies: str) -> bool:
        """Whether a `Cookie` header has a key of this start."""
        # Browsers send along what other programs of the host have set, well-formed or not.
        given = cookie_parser(cookies).get(self._name, "").encode()
        return any([hmac.compare_digest(given, key.encode()) for key in self._keys])

    async def log_in(self, user: str, password: str) -> str | None:
        """Return a cookie with a new key, or None, a second later, where the password is wrong."""
        if self._waiting >= _WAITING:
            return None
        if not is_right(self._passwords, user, password):
            self._waiting += 1
            try:
                await asyncio.sleep(_WRONG_SECONDS)
            finally:
                self._waiting -= 1
            return None
        if len(self._keys) >= _KEYS:
            del self._keys[next(iter(self._keys))]
        key = secrets.token_urlsafe(32)
        self._keys[key] = None
        return self._cookie(key)

    def _cookie(self, key: str) -> str:
        return f"{self._name}={key}{self._attributes}"
