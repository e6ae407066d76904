"""Reading a large JSON object piece by piece: one item of its lists in memory at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class JsonWalk:
    """A JSON object read member by member; the caller takes each value before the next.

    Every method raises `json.JSONDecodeError` where the text is no JSON.

    Args:
        text: the whole text.

    Example:
        >>> walk = JsonWalk('{"a": 1, "b": [2, 3]}')
        >>> [walk.value() for _ in walk.members()]
        [1, [2, 3]]
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decode = json.JSONDecoder().raw_decode
        self.at = 0

    def value(self) -> Any:
        """Return the value at the place reached."""
        self._skip()
        value, self.at = self._decode(self._text, self.at)
        return value

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that is the whole text."""
        for _ in self._parts("{", "}"):
            key = self.value()
            if not isinstance(key, str) or not self._take(":"):
                raise json.JSONDecodeError("Expecting a key", self._text, self.at)
            yield key
        self._skip()
        if self.at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self.at)

    def items(self) -> Iterator[int]:
        """Yield the place of each item of a list."""
        yield from self._parts("[", "]")

    def _parts(self, opening: str, closing: str) -> Iterator[int]:
        if not self._take(opening):
            raise json.JSONDecodeError(f"Expecting '{opening}'", self._text, self.at)
        if self._take(closing):
            return
        while True:
            self._skip()
            yield self.at
            if self._take(closing):
                return
            if not self._take(","):
                raise json.JSONDecodeError("Expecting ',' delimiter", self._text, self.at)

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self.at)
        self.at = self.at if match is None else match.end()

    def _take(self, character: str) -> bool:
        """Pass over a character if it comes next."""
        self._skip()
        if not self._text.startswith(character, self.at):
            return False
        self.at += 1
        return True
