"""Files that are almost right: documents with a part exchanged, bytes cut, changed and added."""

from __future__ import annotations

import copy
import json
from typing import Any, cast

from hypothesis import strategies as st

from uda4inst.errors import UserError

NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**18, 10**25, -(10**40)]),
    st.floats(),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "\0", "a\0b", "../a", "/dev/zero", "\ud800", "a" * 300, "1e-4", "nan"]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def places(document: Any) -> list[tuple[str | int, ...]]:
    """Return the way to every part of a document, the whole first."""
    if isinstance(document, dict):
        parts: list[tuple[Any, Any]] = list(document.items())
    else:
        parts = list(enumerate(document)) if isinstance(document, list) else []
    return [(), *((key, *rest) for key, part in parts for rest in places(part))]


@st.composite
def exchanged(draw: st.DrawFn, document: Any) -> Any:
    """Return a document with one or two of its parts exchanged, left out, or twice."""
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(document))) or (None,)
        if last is None:
            return draw(VALUES)
        document = copy.deepcopy(document)
        part: Any = document
        for key in way:
            part = part[key]
        kind = draw(st.sampled_from(["exchange", "leave out", "twice"]))
        if kind == "exchange":
            part[last] = draw(VALUES)
        elif kind == "leave out":
            del part[last]
        elif isinstance(part, list):
            part.append(copy.deepcopy(part[cast(int, last)]))
    return document


@st.composite
def spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes cut, changed or added to; or any at all."""
    kind = draw(st.sampled_from(["cut", "change", "add", "any"]))
    if kind == "any":
        return draw(st.binary(max_size=64))
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    if kind == "cut":
        return data[:place]
    piece = draw(st.binary(min_size=1, max_size=8))
    return data[:place] + piece + data[place + (len(piece) if kind == "change" else 0) :]


def json_of(document: Any) -> st.SearchStrategy[bytes]:
    """Return what a JSON file may hold that was once this document."""
    whole = exchanged(document).map(lambda value: json.dumps(value).encode())
    return st.one_of(whole, spoiled(json.dumps(document).encode()))


def attempt(read: Any, *arguments: Any, error: type[Exception] = UserError) -> tuple[Any, str]:
    """Return a value and no message, or None and the message of the one error that may come."""
    try:
        return read(*arguments), ""
    except error as refusal:
        return None, str(refusal)
