"""What a browser looks at as the query of an address, and back, so that every page can be linked.

`/?tab=mixing&run=demo&step=300` is the Mixing page on a run's snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, get_args
from urllib.parse import parse_qsl, urlencode

from workbench.session import PageName, SessionState

_Setter = Callable[[SessionState, str], SessionState]


def query_of(state: SessionState) -> str:
    """Return the query of the address that leads to what a session looks at.

    Example:
        >>> query_of(SessionState(page="mixing", run="demo", snapshot=300))
        'tab=mixing&run=demo&step=300'
    """
    values = {
        "tab": state.page.replace("_", "-"),
        "run": state.run,
        "group": state.group,
        "step": state.snapshot,
        "item": state.item + 1 if state.item else None,
    }
    return urlencode({name: value for name, value in values.items() if value is not None})


def session_at(
    query: str, first: SessionState, runs: Collection[str]
) -> tuple[SessionState, list[str]]:
    """Return the session that a query asks for, and what it asks for that is not there.

    Args:
        query: of the address; other parameters than this page's are passed over.
        first: what a new browser looks at.
        runs: names of all runs.

    Example:
        >>> session_at("tab=pool&run=lost", SessionState(run="demo"), ["demo"])[1]
        ['run=lost']
    """
    state, missing = first, list[str]()
    for name, value in parse_qsl(query):
        if name not in _SETTERS:
            continue
        try:
            if name == "run" and value not in runs:
                raise ValueError(value)
            state = _SETTERS[name](state, value)
        except ValueError:
            missing.append(f"{name}={value}"[:200])
    return state, missing


def _on_page(state: SessionState, value: str) -> SessionState:
    for page in get_args(PageName):
        if page == value.replace("-", "_"):
            return state.on_page(page)
    raise ValueError(value)


def _number(value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) >= least):
        raise ValueError(value)
    return int(value)


# In the order of the address: another run forgets the step.
_SETTERS: Final[dict[str, _Setter]] = {
    "tab": _on_page,
    "run": SessionState.on_run,
    "group": lambda state, value: state.on_group(value),
    "step": lambda state, value: state.on_snapshot(_number(value, 0)),
    "item": lambda state, value: replace(state, item=_number(value, 1) - 1),
}
PARAMETERS: Final = frozenset(_SETTERS)
