"""What a browser looks at as the query of an address, and back, so that every page can be linked.

`/?tab=mixing&run=demo&step=300` is the Mixing page on a run's snapshot,
`/?tab=error-maps&run=demo&class=car&image=5` the fifth image by its errors on cars.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, urlencode

from uda4inst.errors import UserError
from uda4inst.suites.rows import NETWORKS, PROTOCOLS
from workbench.session import (
    SHOWN_SCORES,
    TRIED_SCORES,
    ImageOrder,
    Overlay,
    PageName,
    SessionState,
)
from workbench.stores.groups import check_name, split_name

_TEXT_LENGTH: Final = 1000


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One part of an address.

    Args:
        read: returns its value; None leaves it out.
        write: returns the session that a value leads to, or raises ValueError.
    """

    read: Callable[[SessionState], object]
    write: Callable[[SessionState, str], SessionState]


def query_of(state: SessionState) -> str:
    """Return the query of the address that leads to what a session looks at.

    What belongs to one page is in the addresses of that page, where it is not what a new browser
    has. Target labels that were opened, and folders that were typed on the Data page, are in none.

    Example:
        >>> query_of(SessionState(page="mixing", run="demo", snapshot=300))
        'tab=mixing&run=demo&step=300'
    """
    values = {name: one.read(state) for name, one in _known(state).items()}
    return urlencode({name: value for name, value in values.items() if value is not None})


def session_at(
    query: str, first: SessionState, runs: Collection[str]
) -> tuple[SessionState, list[str]]:
    """Return the session that a query asks for, and what it asks for that is not there.

    Args:
        query: of the address; other parameters than its page's are passed over.
        first: what a new browser looks at.
        runs: names of all runs.

    Example:
        >>> session_at("tab=pool&run=lost", SessionState(run="demo"), ["demo"])[1]
        ['run=lost']
    """
    state, missing = first, list[str]()
    for name, value in parse_qsl(query):
        parameter = _known(state).get(name)
        if parameter is None:
            continue
        try:
            if name == "run" and value not in runs:
                raise ValueError(value)
            if name == "b_run" and not _is_network(value, runs):
                raise ValueError(value)
            state = parameter.write(state, value)
        except ValueError:
            missing.append(f"{name}={value}"[:200])
    return state, missing


def _is_network(name: str, runs: Collection[str]) -> bool:
    """Whether a name is that of a run, or can be that of one of its groups' networks."""
    try:
        return split_name(check_name(name))[0] in runs
    except UserError:
        return False


def _known(state: SessionState) -> Mapping[str, _Parameter]:
    """Return what the addresses of a session's page have."""
    return {**_OF_ALL, **_OF_PAGE.get(state.page, {})}


def _on_page(state: SessionState, value: str) -> SessionState:
    for page in get_args(PageName):
        if page == value.replace("-", "_"):
            return state.on_page(page)
    raise ValueError(value)


def _number(value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) >= least):
        raise ValueError(value)
    return int(value)


def _step(value: str) -> int:
    return _number(value, 0)


def _place(value: str) -> int:
    return _number(value, 1) - 1


def _score_in(bounds: tuple[float, float]) -> Callable[[str], float]:
    def parse(value: str) -> float:
        score = float(value)
        if not bounds[0] <= score <= bounds[1]:  # nor where it is no number
            raise ValueError(value)
        return score

    return parse


def _text(value: str) -> str:
    if len(value) > _TEXT_LENGTH or not value.isprintable():
        raise ValueError(value)
    return value


def _one_of(values: Collection[str]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(value)
        return value

    return parse


def _from_first(place: int) -> int | None:
    """Return a place as people count, from 1; None for the first."""
    return place + 1 if place else None


def _part(
    part: Literal["errors", "data", "results"], name: str, parse: Callable[[str], object]
) -> _Parameter:
    """Return the parameter for one field of what a page shows; a place for a `position`."""
    default = getattr(getattr(SessionState(), part), name)

    def read(state: SessionState) -> object:
        value = getattr(getattr(state, part), name)
        if parse is _place:
            return _from_first(value)
        return None if value == default else value

    def write(state: SessionState, value: str) -> SessionState:
        choice = replace(getattr(state, part), **{name: parse(value)})
        return replace(state, **{part: choice})

    return _Parameter(read, write)


def _of_the_run(side: Literal["source", "target"]) -> _Parameter:
    """Return the parameter for an image of the run's own data, not of a folder that was typed."""
    place = _part("data", f"{side}_position", _place)

    def read(state: SessionState) -> object:
        return place.read(state) if getattr(state.data, side) is None else None

    return _Parameter(read, place.write)


# In the order of the address: another run forgets the step, and what belongs to a page comes after.
_OF_ALL: Final[Mapping[str, _Parameter]] = {
    "tab": _Parameter(lambda state: state.page.replace("_", "-"), _on_page),
    "run": _Parameter(lambda state: state.run, SessionState.on_run),
    "group": _Parameter(lambda state: state.group, SessionState.on_group),
    "step": _Parameter(
        lambda state: state.snapshot, lambda state, value: state.on_snapshot(_step(value))
    ),
    "item": _Parameter(
        lambda state: _from_first(state.item), lambda state, value: state.on_item(_place(value))
    ),
}
_OF_PAGE: Final[Mapping[PageName, Mapping[str, _Parameter]]] = {
    "data": {
        "overlay": _part("data", "overlay", _one_of(get_args(Overlay))),
        "source_image": _of_the_run("source"),
        "target_image": _of_the_run("target"),
    },
    "pseudo_labels": {
        "threshold": _Parameter(
            lambda state: state.score_threshold,
            lambda state, value: state.on_threshold(_score_in(TRIED_SCORES)(value)),
        ),
    },
    "error_maps": {
        "a_group": _part("errors", "group", _text),
        "a_step": _part("errors", "step", _step),
        "a_network": _part("errors", "network", _text),
        "b_run": _part("errors", "other_run", _text),
        "b_step": _part("errors", "other_step", _step),
        "b_network": _part("errors", "other_network", _text),
        "class": _part("errors", "class_name", _text),
        "threshold": _part("errors", "score_threshold", _score_in(SHOWN_SCORES)),
        "order": _part("errors", "order", _one_of(get_args(ImageOrder))),
        "images": _part("errors", "images", _text),
        "image": _part("errors", "position", _place),
    },
    "results": {
        "suite": _part("results", "folder", _text),
        "protocol": _part("results", "protocol", _one_of(PROTOCOLS)),
        "network": _part("results", "network", _one_of(NETWORKS)),
    },
}
PARAMETERS: Final = frozenset(_OF_ALL).union(*_OF_PAGE.values())
