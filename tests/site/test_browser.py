"""The site in a browser: no page fails, loads from another host, or is wider than a phone."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Chromium's own sandbox does not work for root in a container. Chromium must not send requests of
# its own either.
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
)
WIDTHS = (1280, 390)  # pixels: a desktop and a phone
NAME = "MalformedRecordError"
TIMEOUT = 30_000  # milliseconds, enough for a page that is loaded from this machine

pytestmark = pytest.mark.once


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def base_url(site: Path) -> Iterator[str]:
    """The address of the site on a server that runs on this machine."""
    handler = partial(_Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        browser.close()


def open_page(browser: "Browser", base_url: str) -> tuple["Page", list[str]]:
    """Return a new page of the browser, and a list that collects its errors."""
    context = browser.new_context(base_url=base_url)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    problems: list[str] = []
    page.on("console", lambda one: one.type == "error" and problems.append(one.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda one: problems.append(f"failed: {one.url}"))
    page.on("request", lambda one: is_local(one.url, base_url) or problems.append(one.url))
    return page, problems


def is_local(url: str, base_url: str) -> bool:
    """Return whether a request goes to the host of the site."""
    return url.startswith((base_url, "data:", "blob:"))


def find_paths(site: Path) -> list[str]:
    """Return the path of each page."""
    return sorted(
        str(path.parent.relative_to(site)).removeprefix(".") for path in site.rglob("index.html")
    )


def test_each_page_opens(site: Path, browser: "Browser", base_url: str) -> None:
    """Each page opens without an error and without a request to another host.

    It also fits the window. Tables and code may be wider than a phone, because they scroll by
    themselves.
    """
    page, problems = open_page(browser, base_url)
    for path in find_paths(site):
        page.goto(f"{path}/" if path else "")
        page.wait_for_load_state("networkidle")
        assert page.locator("article h1").count() == 1, path
        for scheme, width in product(("light", "dark"), WIDTHS):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0, f"{path} is too wide for {width} pixels"
        assert problems == [], path
    page.context.close()


def test_the_search_finds_a_page(browser: "Browser", base_url: str) -> None:
    """The search finds a class by its name and sends no request to another host."""
    page, problems = open_page(browser, base_url)
    page.goto("")
    page.locator("dialog").wait_for(state="attached")  # the search is ready, and handles keys
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search").fill(NAME)
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/*{NAME}*")

    assert problems == []
    page.context.close()
