"""A served workbench and the one browser page that looks at it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
# A shared machine may be slow; nothing here waits longer than it must.
PATIENCE = 60_000
WIDE = {"width": 1440, "height": 900}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Workbench:
    """A served app and the one page that looks at it."""

    folder: Path
    port: int
    shots: Path
    process: subprocess.Popen[bytes] | None = None
    page: Any = None
    hosts: set[str] = field(default_factory=set)
    hosts_within: set[str] = field(default_factory=set)  # of FiftyOne's page in a frame

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def data(self) -> Path:
        return self.folder / "toystreets"

    @property
    def suites(self) -> Path:
        return self.folder / "suites"

    def serve(self) -> None:
        """Start the app as a user would and wait until it answers."""
        self.process = subprocess.Popen(
            (sys.executable, "app.py", *self.options()),
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise TimeoutError("the app does not answer")

    def options(self) -> list[str]:
        values = {
            "--port": self.port,
            "--runs": self.runs,
            "--data": self.data,
            "--suites": self.suites,
        }
        return [str(word) for pair in values.items() for word in pair]

    def stop(self) -> None:
        """End the app the hard way."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def die_and_come_back(self) -> None:
        """End the app, start it again and wait until the page that was left open has loaded."""
        self.page.evaluate("window.fromBefore = true")
        self.stop()
        self.serve()
        # The page loads by itself; to go to an address meanwhile could be called off by that.
        self.page.wait_for_function("() => !window.fromBefore")
        self.wait_for("#train-command", "uda4inst train")

    def open(self) -> None:
        self.page.goto("about:blank")  # a page that still loads would call the next one off
        self.page.goto(f"http://127.0.0.1:{self.port}/?__theme=light")
        self.page.wait_for_selector("#page-train-button")
        # What the app sends when it is opened has come once the form names its preset.
        self.wait_for("#train-command", "uda4inst train")

    def note_host(self, request: Any) -> None:
        """Remember whom the page or one within it asked; what it carries in itself asks nobody."""
        if request.url.startswith(("data:", "blob:")):
            return
        within = not request.is_navigation_request() and request.frame.parent_frame is not None
        hosts = self.hosts_within if within else self.hosts
        hosts.add(urlsplit(request.url).hostname or request.url)

    def tab(self, name: str) -> None:
        self.page.locator(f"#page-{name}-button").click()
        part = name.replace("_", "-")
        # Without a run the Train page has its form alone.
        places = [
            f"#{part}-body",
            f"#{part}-notice",
            *(["#train-start"] if name == "train" else []),
        ]
        self.page.locator(", ".join(f"{place}:visible" for place in places)).first.wait_for()

    def choose(self, element: str, option: str) -> None:
        """Choose an option of a dropdown."""
        self.page.locator(f"#{element} input").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def on_run(self, name: str) -> None:
        """Choose a run in the header, unless it is chosen: that would show every page anew."""
        if self.page.locator("#run input").input_value() == name:
            return
        self.choose("run", name)
        self.wait_for_value("#run input", name)

    def preset(self, name: str) -> None:
        """Fill the new-run form with a preset, the one that it holds too; wait until it has."""
        self.fill("run.name", "until_filled")
        self.choose("train-preset", name)
        self.wait_for_value("#field-run-name :is(input, textarea)", re.compile("^(?!until_filled)"))
        self.wait_for("#train-command", f"uda4inst train {name}( (?!.*=until_filled)|$)")

    def unfold(self, section: str, field_name: str) -> None:
        """Open a section of the form, unless the field in it is there already."""
        if not self.page.locator(f"#field-{field_name}").is_visible():
            self.page.get_by_role("button", name=re.compile(f"^{section}")).first.click()

    def fill(self, key: str, value: object) -> None:
        box = self.page.locator(
            f"#field-{key.replace('.', '-').replace('_', '-')} :is(input, textarea)"
        )
        box.fill(str(value))
        box.press("Tab")

    def click_quickly(self, *selectors: str) -> None:
        """Click one after the other, 40 ms apart: before what the one before asks for has come."""
        self.page.evaluate(
            "async selectors => { for (const selector of selectors) {"
            " document.querySelector(selector).click();"
            " await new Promise(done => setTimeout(done, 40)); } }",
            selectors,
        )

    def shoot(self, name: str) -> None:
        # Pictures of other tabs may wait until they are looked at.
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.wb-picture img')]"
            ".every(i => i.complete || !i.offsetParent)"
        )
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def wait_for(self, selector: str, pattern: str) -> None:
        """Wait until an element's text matches a pattern."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_contain_text(re.compile(pattern))

    def wait_for_trainer(self, selector: str, pattern: str) -> None:
        """Wait until an element's text matches, for as long as the chosen run's trainer gets on."""
        while True:
            told = self.text("#train-card")
            try:
                return self.wait_for(selector, pattern)
            except AssertionError:
                if told == self.text("#train-card"):
                    raise

    def wait_for_value(self, selector: str, value: str | re.Pattern[str]) -> None:
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_value(value)

    def wait_empty(self, selector: str) -> None:
        """Wait until an element shows no text, not even how long it has been waited for."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_text("", use_inner_text=True)

    def wait_for_gone(self, selector: str) -> None:
        """Wait until no such element is left."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_count(0)

    def wait_unchecked(self, selector: str) -> None:
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).not_to_be_checked()

    def wait_hidden(self, selector: str) -> None:
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_be_hidden()

    def picture(self, element: str) -> str:
        """Return the address of a picture on screen; another picture has another one."""
        return self.page.locator(f"#{element} img").get_attribute("src")

    def wait_for_picture(self, element: str) -> None:
        """Wait until a picture is there with all its pixels."""
        self.page.wait_for_function(
            "e => { const i = document.querySelector(`#${e} img`);"
            " return i && i.complete && i.naturalWidth > 100; }",
            arg=element,
        )

    def wait_for_other_picture(self, element: str, than: str) -> None:
        self.page.wait_for_function(
            "([e, old]) => { const i = document.querySelector(`#${e} img`);"
            " return i && i.src !== old && i.complete; }",
            arg=[element, than],
        )

    def download(self, button: str) -> tuple[str, bytes]:
        """Press a button and return name and content of the file it hands out."""
        with self.page.expect_download() as waiting:
            self.page.locator(f"#{button}:not([disabled])").click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
