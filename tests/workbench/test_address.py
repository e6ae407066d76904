"""What a browser looks at, as an address and back."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args
from urllib.parse import parse_qsl

import pytest

from workbench.address import PARAMETERS, query_of, session_at
from workbench.session import PageName, SessionState, TreeChoice

FIRST = SessionState(run="newest")
RUNS = ["newest", "a run & more", "grouped"]


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
    ("page", "query", "state"),
    [
        (
            "error_maps",
            "a_group=car-bus&a_step=30&a_network=student&b_run=grouped%2Fmodules%2Fcar-bus&b_step=9"
            "&b_network=teacher&class=traffic+sign&threshold=0.75&order=worse+than+B"
            "&images=lists%2Fmissed.txt&image=5",
            FIRST.on_errors(
                group="car-bus",
                step=30,
                network="student",
                other_run="grouped/modules/car-bus",
                other_step=9,
                other_network="teacher",
                class_name="traffic sign",
                score_threshold=0.75,
                order="worse than B",
                images="lists/missed.txt",
                position=4,
            ),
        ),
        ("pseudo_labels", "threshold=0.35", FIRST.on_threshold(0.35)),
        (
            "data",
            "overlay=boxes&source_image=3&target_image=2",
            FIRST.on_data(overlay="boxes", source_position=2, target_position=1),
        ),
        (
            "results",
            "suite=%2Fhome%2Fme%2Fsuites%2Ftable5&protocol=coco&network=teacher",
            FIRST.on_results(folder="/home/me/suites/table5", protocol="coco", network="teacher"),
        ),
    ],
)
def test_query_of__has_every_choice_of_its_page_and_of_no_other(
    page: PageName, query: str, state: SessionState
) -> None:
    address = f"tab={page.replace('_', '-')}&run=newest&{query}"
    assert query_of(state.on_page(page)) == address
    assert session_at(address, FIRST, RUNS) == (state.on_page(page), [])
    assert query_of(state.on_page("train")) == "tab=train&run=newest"
    assert session_at(f"tab=train&{query}", FIRST, RUNS) == (FIRST.on_page("train"), [])
    assert {name for name, _ in parse_qsl(address)} <= PARAMETERS


def test_query_of__has_no_folder_that_was_typed_and_no_target_labels() -> None:
    typed = FIRST.on_page("data").on_data(source=TreeChoice("urbansyn", "a", "train"))
    typed = typed.on_data(source_position=3, target_labels=True).on_target_labels(True)
    assert query_of(typed) == "tab=data&run=newest"


@pytest.mark.parametrize(
    "asked",
    [
        "threshold=1",
        "threshold=-0.1",
        "threshold=nan",
        "threshold=much",
        "order=best",
        "a_step=-3",
        "image=0",
        "b_run=lost",
        "b_run=..%2Fgrouped",
        "b_run=grouped%2Fmodules%2F..",
        "b_run=lost%2Fmodules%2Fcar-bus",
        f"class={'x' * 150}%0A",
    ],
)
def test_session_at__what_a_page_cannot_show_is_named(asked: str) -> None:
    state, (missing,) = session_at(f"tab=error-maps&{asked}&a_step=30", FIRST, RUNS)
    assert missing.partition("=")[0] == asked.partition("=")[0]
    assert state == FIRST.on_page("error_maps").on_errors(step=30)


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
