"""The real app behind the gate, and its folder."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import httpx
import pytest

from uda4inst.errors import UserError
from workbench.app import launch_options
from workbench.gate.exposure import Exposure
from workbench.gate.serving import behind_gate, own_folder, serve_behind_gate


@pytest.fixture(scope="module")
def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def answers(app: gr.Blocks, folder: Path, asked: list[tuple[str, str]]) -> list[httpx.Response]:
    """Return what the app answers a browser that has opened its page."""

    async def ask() -> list[httpx.Response]:
        site = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(site, app, path="", **launch_options())
        transport = httpx.ASGITransport(behind_gate(site, Exposure(), folder))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:7860"
        ) as client:
            return [await client.request(method, path) for method, path in asked]

    return asyncio.run(ask())


def test_app__its_page_and_what_that_asks_for(app: gr.Blocks, tmp_path: Path) -> None:
    asked = [("GET", "/"), ("GET", "/?page=mixing&__theme=light"), ("GET", "/config")]
    asked += [("GET", "/theme.css"), ("GET", "/gradio_api/app_id")]
    found = answers(app, tmp_path, asked)
    assert [answer.status_code for answer in found] == [200] * len(asked)
    assert "UDA4Inst workbench" in found[0].text
    assert len(found[2].json()["components"]) > 100


def test_app__what_gradio_offers_beside_is_not_there(app: gr.Blocks, tmp_path: Path) -> None:
    asked = [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/call/train_start"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", f"/gradio_api/file={Path(__file__)}"),
    ]
    found = answers(app, tmp_path, [("GET", "/"), *asked])[1:]
    assert [answer.status_code for answer in found] == [404, 404, 404, 403, 403]


def test_own_folder__is_of_this_process_alone_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_pid: int
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    left = tmp_path / f"uda4inst-workbench-{ended_pid}-x"
    others = tmp_path / f"uda4inst-workbench-{os.getppid()}-x"
    for path in (left, others):
        path.mkdir()
    with own_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not left.exists()
        (folder / "picture.png").touch()
    assert list(tmp_path.iterdir()) == [others]
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)


def test_serve__a_port_in_use_is_one_message() -> None:
    def mount(site: Any) -> None:
        raise AssertionError("nothing is built for a port that cannot be had")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"a free port, got 127.0.0.1 and {port}"):
            serve_behind_gate(mount, Exposure(port=port))
    with pytest.raises(UserError, match="must be an address of this machine"):
        serve_behind_gate(mount, Exposure(host="203.0.113.7", port=7860))
