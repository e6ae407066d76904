"""What lies on the disk, or comes from another page, does nothing to the app in a real browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from browser_bench import Workbench

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=\"document.title='owned'\">"
# What a page elsewhere tries: to change something, to read, to load, to frame.
FOREIGN = """<!doctype html><script>
const app = decodeURIComponent(location.hash.slice(1));
const body = JSON.stringify({data: [null], fn_index: 0, session_hash: "foreign"});
const tried = promise => promise.then(r => r.type === "opaque" || r.ok, () => false);
const loads = (tag, address) => new Promise(done => {
  const made = document.createElement(tag);
  made.onload = () => done(true);
  made.onerror = () => done(false);
  made.src = address;
  document.body.append(made);
});
window.onload = async () => {
  window.reached = await Promise.all([
    tried(fetch(app + "/gradio_api/queue/join", {method: "POST", mode: "no-cors", body,
      credentials: "include", headers: {"content-type": "text/plain"}})),
    tried(fetch(app + "/gradio_api/queue/join", {method: "POST", body, credentials: "include",
      headers: {"content-type": "application/json"}})),
    tried(fetch(app + "/config", {credentials: "include"})),
    loads("img", app + "/static/img/logo.svg"),
    loads("script", app + "/config"),
  ]);
};
</script><body>"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """A site on another port: where it is."""
    (tmp_path / "foreign.html").write_text(FOREIGN)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield site.server_port
        site.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_page_elsewhere__reaches_nothing(bench: Workbench, elsewhere: int, name: str) -> None:
    context = bench.page.context.browser.new_context()
    context.new_page().goto(f"http://127.0.0.1:{bench.port}/")
    assert [cookie["sameSite"] for cookie in context.cookies()] == ["Strict"]
    page = context.new_page()
    page.goto(f"http://{name}:{elsewhere}/foreign.html#http%3A%2F%2F127.0.0.1%3A{bench.port}")
    page.wait_for_function("window.reached")
    reached = page.evaluate("window.reached")
    context.close()
    assert reached == [False] * 5


def test_odd_folders_and_messages__are_text(bench: Workbench) -> None:
    odd = bench.runs / MARKUP
    odd.mkdir(parents=True)
    (odd / "status.json").write_text("[" * 100_000)
    bench.open()
    bench.wait_for("#train-runs", "onerror")
    bench.fill("run.name", MARKUP)
    bench.wait_for("#train-command", "run.name must be letters")
    bench.page.locator("#train-start").click()
    bench.page.get_by_test_id("toast-text").get_by_text("onerror").wait_for()
    bench.shoot("train_markup")
    assert bench.page.locator("img[src=x]").count() == 0
    assert bench.page.title() == "UDA4Inst workbench"
    (odd / "status.json").unlink()
    odd.rmdir()
    bench.open()


@pytest.mark.parametrize("address", ["/?page=mixing", "/no/such/page"])
def test_address__not_understood_opens_the_start_page(bench: Workbench, address: str) -> None:
    page = bench.page.context.browser.new_page()
    page.goto(f"http://127.0.0.1:{bench.port}{address}")
    page.get_by_test_id("toast-text").get_by_text("is no address of the workbench").wait_for()
    page.wait_for_selector("#train-start")
    page.close()
