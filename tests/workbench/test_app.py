from __future__ import annotations

import ast
import math
import subprocess
import sys
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.components import Component
from gradio.state_holder import StateHolder

from workbench.app import MOST_SESSIONS, PAGES, launch_options
from workbench.header import first_session
from workbench.session import SessionState

WORKBENCH = Path(__file__).parents[2] / "workbench"


def events(app: gr.Blocks) -> list[Any]:
    return list(app.fns.values())


def blocks(app: gr.Blocks, kind: type) -> list[Any]:
    return [block for block in app.blocks.values() if isinstance(block, kind)]


def test_build_app__every_event_has_a_name_of_its_own(app: gr.Blocks) -> None:
    names = [event.api_name for event in events(app)]
    assert len(names) == len(set(names))
    assert all("_" in name and not name[-1].isdigit() for name in names)


def test_build_app__nothing_is_offered_to_other_programs(app: gr.Blocks) -> None:
    assert {event.api_visibility for event in events(app)} == {"private"}


def test_build_app__the_browser_is_told_of_one_place_of_progress_an_event(app: gr.Blocks) -> None:
    # Gradio's pages look for each such place in the whole page, whether progress is shown or not.
    assert {event.show_progress for event in events(app)} == {"hidden"}
    for event in events(app):
        seen = [
            o for o in event.outputs if isinstance(o, Component) and o.get_block_name() != "state"
        ]
        assert [*(event.show_progress_on or [])] == seen[:1]


def test_build_app__every_click_counts_that_says_where_or_how_far(app: gr.Blocks) -> None:
    steps = {"earlier", "later", "next", "previous", "snapshot"}
    modes = {
        event.api_name: event.trigger_mode
        for event in events(app)
        if any(
            "EventData" in str(one.annotation) for one in signature(event.fn).parameters.values()
        )
        or ("_show_" not in event.api_name and event.api_name.split("_")[-1] in steps)
    }
    modes.pop("train_snapshot")  # asks for one
    assert {"app_close_fiftyone", "train_pick_run", "train_later", "pool_next_snapshot"} < {*modes}
    assert set(modes.values()) == {"multiple"}, modes


def test_build_app__every_choice_counts_and_is_drawn(app: gr.Blocks) -> None:
    modes: dict[type, dict[str, str]] = {}
    for event in events(app):
        for block, kind in event.targets:
            if kind == "input":
                modes.setdefault(type(app.blocks[block]), {})[event.api_name] = event.trigger_mode
    last = ("train_preview", "train_choose_preset", "train_variant_of", "mixing_show_mark")
    for kind in (gr.Dropdown, gr.Radio, gr.Checkbox):
        found = {name: mode for name, mode in modes[kind].items() if not name.startswith(last)}
        assert set(found.values()) == {"multiple"}, found
    assert {"app_choose_run", "app_choose_group", "error_maps_order"} < {*modes[gr.Dropdown]}
    rest = {name: mode for kind in modes for name, mode in modes[kind].items()}
    assert "once" not in rest.values(), rest
    drawn = {e.api_name: e.trigger_mode for e in events(app) if e.trigger_after is not None}
    assert {"app_run_chosen", "mixing_show_choose_item"} < {*drawn}
    assert set(drawn.values()) == {"always_last"}, drawn


def test_build_app__one_session_and_nothing_hidden(app: gr.Blocks) -> None:
    (state,) = blocks(app, gr.State)
    assert state.value == SessionState()
    assert all(box.visible for box in blocks(app, gr.Textbox))


def test_build_app__only_the_first_page_and_the_header_tick_at_first(app: gr.Blocks) -> None:
    assert [tab.id for tab in blocks(app, gr.Tab)] == list(PAGES)
    assert len(blocks(app, gr.Timer)) == len(PAGES) + 1
    assert [timer.active for timer in blocks(app, gr.Timer)].count(True) == 2
    assert all(timer.value >= 2 for timer in blocks(app, gr.Timer))


def test_build_app__forgets_pages_that_have_been_silent_longest(app: gr.Blocks) -> None:
    holder = StateHolder()
    holder.set_blocks(app)
    for number in range(MOST_SESSIONS):
        assert holder[str(number)]
    assert holder["0"]  # still heard of
    assert holder["new"]
    assert "0" in holder
    assert "1" not in holder
    assert len(holder.session_data) == MOST_SESSIONS


def test_build_app__forgets_pages_an_hour_after_they_were_closed(app: gr.Blocks) -> None:
    holder = StateHolder()
    holder.set_blocks(app)
    (state,) = blocks(app, gr.State)
    for name in ("open", "closed", "just closed"):
        holder[name][state._id] = SessionState(run=name)
        holder[name].is_closed = name != "open"
    for name in ("open", "closed"):
        holder[name]._state_ttl[state._id] = (math.inf, datetime.now() - timedelta(hours=1.1))
    holder.delete_all_expired_state()
    assert set(holder.session_data) == set(holder.time_last_used) == {"open", "just closed"}
    assert holder["open"][state._id].run == "open"


def test_launch_options__ask_no_one_else() -> None:
    options = launch_options()
    assert options["run_history"] is False
    assert options["show_error"] is False
    assert options["enable_monitoring"] is False
    assert options["footer_links"] == []
    css = Path(options["css_paths"]).read_text()
    assert "http" not in css
    assert "@import" not in css


def test_first_session__looks_at_the_run_that_changed_last(services: Any, write_run: Any) -> None:
    assert first_session(services) == SessionState()
    write_run("demo", steps=1)
    assert first_session(services).run == "demo"


def test_pages__do_not_import_each_other() -> None:
    rooms = [path for path in (WORKBENCH / "pages").iterdir() if path.is_dir()]
    assert {room.name for room in rooms if room.name != "__pycache__"} == set(PAGES)
    for path in (WORKBENCH / "pages").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        pages = {m.split(".")[2] for m in imported if m.startswith("workbench.pages.")}
        assert pages <= {path.parent.name}, path


@pytest.mark.parametrize("room", ["ui", "stores", "jobs", "pages", "sessions"])
def test_rooms__only_the_app_knows_pages(room: str) -> None:
    offenders = [
        path
        for path in [*(WORKBENCH / room).rglob("*.py"), *WORKBENCH.glob("*.py")]
        if "workbench.pages" in path.read_text(encoding="utf-8")
        and path.name != "app.py"
        and "pages" not in path.parts[len(WORKBENCH.parts) :]
    ]
    assert offenders == []


def test_app__builds_no_network_and_does_not_import_their_library() -> None:
    code = "import sys, workbench.app\nassert not {'transformers', 'accelerate'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_app_file__is_short() -> None:
    assert len((WORKBENCH.parent / "app.py").read_text().splitlines()) < 30


def test_build_app__a_choice_draws_its_own_page_alone(app: gr.Blocks) -> None:
    named = {event.api_name: event for event in events(app)}
    chosen = named["pseudo_labels_threshold"]
    drawn = named["pseudo_labels_show_threshold"]
    followers = [event for event in events(app) if event.trigger_after == chosen._id]
    assert followers == [drawn]
    assert len(drawn.outputs) < 20
