from __future__ import annotations

import ast
from pathlib import Path

import pytest

from workbench.ui.toasts import refusal

WORKBENCH = Path(__file__).parents[3] / "workbench"
TOASTS = {"Error", "Warning", "Info", "Success"}


def toasts_in(path: Path) -> list[str]:
    """Return what a file takes from Gradio to show messages with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("gr", "gradio")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gradio":
            found += [alias.name for alias in node.names]
    return [name for name in found if name in TOASTS]


def test_messages__come_from_one_place() -> None:
    assert set(toasts_in(WORKBENCH / "ui" / "toasts.py")) == {"Error", "Info"}
    others = {path for path in WORKBENCH.rglob("*.py") if toasts_in(path)}
    assert others == {WORKBENCH / "ui" / "toasts.py"}


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "a & b", "'\"</p>"])
def test_refusal__text_is_text(text: str) -> None:
    error = refusal(text, title=text)
    for shown in (error.message, error.title):
        assert not set("<>'\"") & set(shown)
    assert not error.print_exception


def test_refusal__lines_stay_lines() -> None:
    assert refusal("one\ntwo", title="t").message == "one<br>two"
