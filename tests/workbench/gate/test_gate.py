"""The gate before an application that says what reached it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from workbench.gate.exposure import Exposure
from workbench.gate.gate import MOST_BYTES, Gate
from workbench.gate.serving import behind_gate

JOIN = "/gradio_api/queue/join"
LOCKED = {"passwords": {"ada": "correct horse"}}
Open = Callable[..., "Client"]


class Client:
    """Asks an application as a browser or a program would, and keeps its cookies."""

    def __init__(self, site: Gate, base: str) -> None:
        self.site, self.base, self.cookies = site, base, httpx.Cookies()

    def request(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.site)
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base, cookies=self.cookies
            ) as client:
                found = await client.request(method, path, **content)
                self.cookies.update(client.cookies)
                return found

        return asyncio.run(ask())

    def get(self, path: str, **content: Any) -> httpx.Response:
        return self.request("GET", path, **content)

    def post(self, path: str, **content: Any) -> httpx.Response:
        return self.request("POST", path, **content)


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what came through, its body read to the end."""
    request = Request(scope, receive)
    body = await request.body()
    await PlainTextResponse(f"{request.url.path}?{request.url.query} {len(body)}")(
        scope, receive, send
    )


@pytest.fixture
def gated(tmp_path: Path) -> Open:
    """Return a client of the gate, which is as `python app.py` has it unless told otherwise."""

    def make(base: str = "http://127.0.0.1:7860", **exposure: Any) -> Client:
        site = behind_gate(inner, Exposure(**exposure), tmp_path)
        return Client(site, base)

    return make


@pytest.fixture
def client(gated: Open) -> Client:
    """Return a client that has opened the start page."""
    opened = gated()
    assert opened.get("/").status_code == 200
    return opened


def test_start_page__gives_the_key_that_all_else_needs(gated: Open) -> None:
    stranger = gated()
    assert stranger.post(JOIN).status_code == 403
    assert stranger.get("/config").status_code == 403
    given = stranger.get("/").headers["set-cookie"]
    assert given.startswith("workbench-7860=")
    assert given.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert stranger.post(JOIN, content=b"12").text == f"{JOIN}? 2"
    assert stranger.get("/config").status_code == 200


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "path=/x", "flag", "theme=a b", "a=b"])
@pytest.mark.parametrize("is_first", [True, False])
def test_key__beside_cookies_of_other_programs_of_the_host(
    gated: Open, other: str, is_first: bool
) -> None:
    stranger = gated()
    key = stranger.get("/").headers["set-cookie"].partition(";")[0]
    stranger.cookies.clear()
    sent = "; ".join((other, key) if is_first else (key, other))
    assert stranger.get("/config", headers={"cookie": sent}).status_code == 200


def test_key__of_another_start_is_none(client: Client, gated: Open) -> None:
    other = gated()
    other.cookies.update(client.cookies)
    assert other.post(JOIN).status_code == 403


def test_key__travels_by_tls_alone_where_there_is_tls(gated: Open, tmp_path: Path) -> None:
    client = gated("https://127.0.0.1:7860", certificate=tmp_path, key=tmp_path)
    assert client.get("/").headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:8000", "[::1]:7860"])
def test_host__own_names_by_whatever_port(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


FOREIGN_HOSTS = ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0:7860"]
FOREIGN_HOSTS += ["192.168.0.7", "", "localhost, evil.example", "localhost/", "a" * 300]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/", "/theme.css", "/config", "/nowhere"])
def test_host__foreign_names_get_nothing(client: Client, host: str, path: str) -> None:
    refused = client.get(path, headers={"host": host})
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("header", ["x-forwarded-host", "x-gradio-server"])
def test_host__names_of_proxies_are_looked_at_too(client: Client, header: str) -> None:
    assert client.get("/", headers={header: "localhost"}).status_code == 200
    assert client.get("/", headers={header: "http://localhost:7860"}).status_code == 200
    assert client.get("/", headers={header: "localhost, evil.example"}).status_code == 403
    assert client.get("/", headers={header: "https://evil.example"}).status_code == 403


def test_origin__own_page_alone(client: Client) -> None:
    assert client.post(JOIN, headers={"origin": "http://127.0.0.1:7860"}).status_code == 200
    foreign = ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:7860", ""]
    for origin in foreign:
        assert client.post(JOIN, headers={"origin": origin}).status_code == 403, origin
        assert client.get("/config", headers={"origin": origin}).status_code == 403, origin


def test_origin__what_asks_beforehand_learns_nothing(client: Client) -> None:
    asking = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    refused = client.request("OPTIONS", JOIN, headers=asking)
    assert refused.status_code == 403
    assert not [name for name in refused.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_fetch_site__a_link_elsewhere_may_open_the_page_and_no_more(
    client: Client, site: str
) -> None:
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.post(JOIN, headers=link).status_code == 403
    for dest in ("image", "iframe", "script", "empty"):
        other = {**link, "sec-fetch-dest": dest}
        assert client.get("/static/img/logo.svg", headers=other).status_code == 403


NOT_THERE = [
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/run/train_start"),
    ("POST", "/gradio_api/call/train_start"),
    ("POST", "/gradio_api/api/train_start"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/vibe-edit/"),
    ("POST", "/gradio_api/stream/x"),
    ("POST", "/"),
    ("POST", "/login"),
    ("PUT", JOIN),
    ("DELETE", "/config"),
    ("GET", "/gradio_api/proxy=https://example.org"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/runs"),
    ("GET", "/monitoring"),
    ("GET", "/docs"),
    ("GET", "//config"),
    ("GET", "/config/"),
]


@pytest.mark.parametrize(("method", "path"), NOT_THERE)
def test_addresses__what_the_page_does_not_ask_for_is_not_there(
    client: Client, method: str, path: str
) -> None:
    found = client.request(method, f"http://127.0.0.1:7860{path}")
    assert found.status_code in (403, 404)
    assert "?" not in found.text  # as `inner` would have it


def test_addresses__a_person_is_led_to_the_start_page(client: Client) -> None:
    led = client.get("/no/such?x=1", headers={"accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/?unknown=%2Fno%2Fsuch")


def test_addresses__a_page_by_its_name(client: Client) -> None:
    led = client.get("/error-maps/", headers={"accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/?tab=error-maps")


def test_addresses__gradio_is_not_told_of_pages_it_would_not_find(client: Client) -> None:
    assert client.get("/?page=mixing&deep_link=x&__theme=dark").text == "/?__theme=dark 0"


def test_files__of_the_own_folder_alone(client: Client, tmp_path: Path) -> None:
    def status(path: object) -> int:
        return client.get(f"/gradio_api/file={path}").status_code

    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.write_text("secret")
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "picture.png").write_bytes(b"")
    assert status(tmp_path / "picture.png") == 200
    for path in (outside, tmp_path / "link", tmp_path / ".." / outside.name, "/etc/passwd"):
        assert status(path) == 403, path
    for path in ("app.py", "../app.py", "https://example.org/x", f"{tmp_path}/%2e%2e/x", "a%00b"):
        assert status(path) == 403, path


def test_requests__larger_than_any_of_the_page_are_refused(client: Client) -> None:
    assert client.post(JOIN, content=b"x" * (MOST_BYTES + 1)).status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * 2**20

    with pytest.raises(ClientDisconnect):  # what `inner` meets while it reads
        client.post(JOIN, content=pieces())


def test_answers__tell_the_browser_to_be_careful(client: Client, gated: Open) -> None:
    for answer in (client.get("/"), client.get("/nowhere"), gated(**LOCKED).get("/")):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_websocket__there_is_none(client: Client) -> None:
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(client.site({"type": "websocket", "path": JOIN}, receive, send))
    assert said == [{"type": "websocket.close", "code": 1008}]


def test_login__nothing_of_the_app_without_a_password(gated: Open) -> None:
    client = gated(**LOCKED)
    page = client.get("/")
    assert page.status_code == 401
    assert 'type="password"' in page.text
    assert "set-cookie" not in page.headers
    assert client.get("/config").status_code == 403
    assert client.post(JOIN).status_code == 403


def test_login__right_password_opens_wrong_ones_do_not(gated: Open) -> None:
    client = gated(**LOCKED)
    for user, password in (("ada", "wrong"), ("eve", "correct horse"), ("", ""), ("eve", "")):
        wrong = client.post("/login", data={"user": user, "password": password})
        assert wrong.status_code == 401
        assert "do not match" in wrong.text
    let_in = client.post("/login", data={"user": "ada", "password": "correct horse"})
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/")
    assert client.get("/").text == "/? 0"
    assert client.post(JOIN).status_code == 200


def test_login__from_another_page_is_refused(gated: Open) -> None:
    client = gated(**LOCKED)
    fields = {"user": "ada", "password": "correct horse"}
    foreign = {"origin": "http://evil.example"}
    assert client.post("/login", data=fields, headers=foreign).status_code == 403
    assert client.post("/login", content=b"x" * 5000).status_code == 413


def test_login__each_has_a_key_of_its_own(gated: Open) -> None:
    client = gated(**LOCKED)
    fields = {"user": "ada", "password": "correct horse"}
    keys = {client.post("/login", data=fields).headers["set-cookie"] for _ in range(2)}
    assert len(keys) == 2


def test_exposed__answers_to_addresses_in_numbers_and_named_hosts(gated: Open) -> None:
    client = gated(host="0.0.0.0", allowed=("Lab.Example",), **LOCKED)
    for host in ("10.1.2.3:7860", "lab.example", "[fe80::1]", "localhost"):
        assert client.get("/", headers={"host": host}).status_code == 401, host
    for host in ("evil.example", "lab.example.evil"):
        assert client.get("/", headers={"host": host}).status_code == 403, host
