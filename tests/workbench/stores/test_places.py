from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.errors import UserError
from workbench.stores.places import Places


def test_check__files_below_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    places = Places([Path("runs"), Path("missing")])
    for path in ("runs/a.txt", tmp_path / "runs" / "b" / ".." / "a.txt", "missing/x", "runs"):
        assert places.check(path, what="image list") == Path(path)


def test_check__nothing_else_by_whatever_way(tmp_path: Path) -> None:
    inside = tmp_path / "runs"
    inside.mkdir()
    (inside / "link").symlink_to("/etc")
    (inside / "loop").symlink_to(inside / "loop")
    places = Places([inside])
    ways = ["/etc/passwd", inside / ".." / "x", inside / "link" / "passwd", f"{inside}-2/x", "~/x"]
    for path in (*ways, "a\0b", ""):
        with pytest.raises(UserError, match="image list must"):
            places.check(path, what="image list")
