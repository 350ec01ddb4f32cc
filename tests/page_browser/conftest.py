"""A browser for all tests, and pages that listen for whatever must not happen: messages, errors, requests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from page_browser import pages
from page_browser.settled import settled

from cxrbench.leaderboard.board import Board

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300_000.0  # milliseconds, which guard against hanging
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}


class Opened(NamedTuple):
    """A page, and what was heard of it."""

    page: Any
    heard: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="not installed here: the package playwright")
    if CHROMIUM is None:
        pytest.skip("not installed here: chromium")
    with playwright.sync_playwright() as running:
        # without a sandbox: root, as in a container, has none
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture(scope="session")
def board() -> Board:
    """What the page of everything shows."""
    return pages.everything()[0]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages."""
    folder = tmp_path_factory.mktemp("pages")
    return {
        name: pages.written(*make(), folder / f"{name}.html")
        for name, make in (("everything", pages.everything), ("wide", pages.wide))
    }


@pytest.fixture
def visit(browser: Any, files: dict[str, Path]) -> Iterator[Callable[..., Opened]]:
    """Open a page; after the test nothing must have been heard of any."""
    opened: list[Opened] = []

    def visit(name: str = "everything", width: str = "desktop", scheme: str = "light", **more: Any) -> Opened:
        across, down = WIDTHS[width]
        context = browser.new_context(
            viewport={"width": across, "height": down}, color_scheme=scheme, has_touch=width == "phone", **more
        )
        context.set_default_timeout(PATIENCE)
        heard: list[str] = []
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if request.url != url else None)
        url = files[name].as_uri()
        page.goto(url)
        if more.get("java_script_enabled", True):
            settled(page)
        opened.append(Opened(page, heard))
        return opened[-1]

    yield visit
    for one in opened:
        assert one.heard == []
        one.page.context.close()
