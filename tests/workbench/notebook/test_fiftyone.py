from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from workbench.jobs.inspections import Inspections
from workbench.notebook import fiftyone

# Says what a session says: how far it is, then where it is; ends with its input.
STAND_IN = """
import json, sys
if "refused" in sys.argv:
    sys.exit("error: RUN must be a run, got 'refused'.")
for done in (0, 3):
    said = {"event": "building", "doing": "Adding", "done": done, "total": 3}
    print(json.dumps(said), flush=True)
views = [{"name": "misses of car", "images": 2, "address": "http://127.0.0.1:1/v?a=1&b=2"}]
print(json.dumps({"event": "open", "address": "http://127.0.0.1:1/", "images": 3, "views": views,
                  "dataset": "d"}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inspections]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    made = Inspections(opener=(sys.executable, str(script)), require=lambda: None)
    monkeypatch.setattr(fiftyone, "_SESSIONS", made)
    yield made
    for one in made.all():
        made.close(one.number)


def test_inspect__steps_through_the_saved_views(sessions: Inspections) -> None:
    views = fiftyone.inspect("run demo")
    assert views.choices == {"view": (fiftyone.EVERYTHING, "misses of car")}
    assert 'src="http://127.0.0.1:1/"' in views.picture.value
    views.controls["view"].value = "misses of car"
    assert 'src="http://127.0.0.1:1/v?a=1&amp;b=2"' in views.picture.value
    assert "misses of car, 2 images: open in a window" in views.picture.value
    assert "| misses of car | 2 |" in views.listed().markdown
    assert views.listed().markdown.startswith("3 images.")


def test_inspect__close_ends_the_session(sessions: Inspections) -> None:
    views = fiftyone.inspect("run demo")
    views.close()
    assert all(one.state == "closing" for one in sessions.all())


def test_inspect__what_is_refused_is_one_message(sessions: Inspections) -> None:
    with pytest.raises(UserError, match="RUN must be a run, got 'refused'"):
        fiftyone.inspect("run refused")
