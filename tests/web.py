"""A served inbox and people with browsers of their own, for end-to-end tests. Debian's Chromium,
driven by Playwright.
"""

import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def served(folder):
    """Serve an inbox on a free loopback port; yield its address."""
    uvicorn = pytest.importorskip("uvicorn")
    from loop.inbox.app import make_app

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(folder), host="127.0.0.1", port=port, log_level="critical", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


@contextmanager
def chromium():
    """Start a browser, or skip with the reason; where HEIRLOOP_REQUIRE_BOX names `browser` it must
    be there.
    """
    wanted = "browser" in os.environ.get("HEIRLOOP_REQUIRE_BOX", "").split(",")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        assert not wanted, "playwright is missing"
        pytest.skip("playwright is not installed")
    if not CHROMIUM.exists():
        assert not wanted, f"{CHROMIUM} is missing"
        pytest.skip(f"{CHROMIUM} is missing; on Debian: apt install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody with a browser profile of their own. A dialog or a script error of the page fails
    the test.
    """

    def __init__(self, browser, address, **context):
        self.address, self.context = address, browser.new_context(**context)
        self.scripted = context.get("java_script_enabled", True)
        self.page, self.wrong = self.context.new_page(), []
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "console",
            lambda said: (
                self.wrong.append(said.text) if "Content Security Policy" in said.text else None
            ),
        )

    def goto(self, path):
        """Open a page and wait until its script, if this browser runs it, has filled it in."""
        self.page.goto(self.address + path)
        if self.scripted:
            self.page.wait_for_selector("body[data-ready]")
        return self.page

    def enrol(self, code):
        """Make a key in this browser and sign in."""
        page = self.goto("/enter")
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Make the key and enrol it").click()
        page.wait_for_url(self.address + "/")

    def open_file(self, path, passphrase):
        """Open a key file and sign in."""
        page = self.goto("/enter")
        page.get_by_label("Key file").set_input_files(path)
        page.get_by_label("Passphrase").fill(passphrase)
        page.get_by_role("button", name="Open and sign in").click()

    def decide(self, answer, reason="it is fine", typed=""):
        """Fill in the form of the open page and sign; return what the page says afterwards."""
        page = self.page
        page.get_by_label("Reason").fill(reason)
        if typed:
            page.get_by_label("To approve, type").fill(typed)
        page.get_by_role("button", name=f"{answer.capitalize()} …").click()
        if page.locator("#sign[open]").count():
            page.get_by_role("button", name="Sign and send").click()
            self.says(".")
        return page.locator("#notice").inner_text()

    def shot(self, name, full=True):
        """Keep a picture for the documents where HEIRLOOP_SHOTS names a folder."""
        if os.environ.get("HEIRLOOP_SHOTS"):
            self.page.screenshot(path=f"{os.environ['HEIRLOOP_SHOTS']}/{name}.png", full_page=full)

    def says(self, pattern, place="#notice"):
        """Wait until a place of the page says something."""
        from playwright.sync_api import expect

        expect(self.page.locator(place)).to_contain_text(re.compile(pattern), timeout=20_000)
