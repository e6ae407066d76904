"""What a browser looks at, as an address and back."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from workbench.address import query_of, session_at
from workbench.session import PageName, SessionState

FIRST = SessionState(run="newest")
RUNS = ["newest", "a run & more"]


@pytest.mark.parametrize("page", get_args(PageName))
def test_session_at__every_page_has_an_address(page: PageName) -> None:
    looked_at = replace(
        FIRST.on_run("a run & more"), page=page, group="car-bus", snapshot=30, item=1
    )
    assert session_at(query_of(looked_at), FIRST, RUNS) == (looked_at, [])


def test_session_at__says_nothing_of_a_new_browser() -> None:
    assert session_at("", FIRST, RUNS) == (FIRST, [])
    assert session_at("__theme=light", FIRST, RUNS) == (FIRST, [])
    assert session_at(query_of(SessionState()), SessionState(), []) == (SessionState(), [])


@pytest.mark.parametrize(
    "asked", ["tab=nowhere", "run=lost", "step=-1", "step=1e3", "step=99999999999", "item=0"]
)
def test_session_at__what_is_not_there_is_named(asked: str) -> None:
    state, missing = session_at(f"{asked}&group=car-bus", FIRST, RUNS)
    assert missing == [asked]
    assert state == FIRST.on_group("car-bus")


def test_session_at__another_run_forgets_the_step_of_the_first() -> None:
    first = FIRST.on_snapshot(40)
    assert session_at("run=newest", first, RUNS)[0].snapshot == 40
    assert session_at("run=a+run+%26+more", first, RUNS)[0].snapshot is None
