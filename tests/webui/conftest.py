"""Debian's Chromium, driven by Playwright, on the real app over the scripted engine.

Every page is watched: a request that leaves its origin, an error in the console or an exception fails the test.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from chromium import CHROMIUM, FLAGS  # noqa: E402
from pages import Tab, Watch  # noqa: E402
from stand_in import Site  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    reason = None
    if not shutil.which(CHROMIUM):
        reason = f"needs {CHROMIUM}: install Debian's package chromium"
    elif not _has_playwright():
        reason = "needs Playwright: pip install -e '.[test]'"
    if reason is None:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_playwright() -> bool:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that the test starts, or `open_page` for it."""
    made = Site()
    yield made
    made.stop()


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.check()


@pytest.fixture
def new_context(browser: Any, watch: Watch) -> Iterator[Callable[..., Any]]:
    """Makes contexts: browsers of their own, whose storage is empty. Takes what Playwright's new_context takes."""
    contexts: list[Any] = []

    def make(**given: Any) -> Any:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1100, "height": 800}, **given})
        context.set_default_timeout(8000)
        context.on("page", watch.add)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context: Callable[..., Any]) -> Any:
    made = new_context()
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    return made


@pytest.fixture
def open_page(site: Site, context: Any) -> Callable[..., Tab]:
    """Opens the page in a new tab, once the model is there unless ``ready`` is false."""

    def open_tab(*, ready: bool = True, in_context: Any = None, path: str = "") -> Tab:
        if site.port == 0:
            site.start()
        tab = Tab((in_context or context).new_page(), site)
        tab.page.goto(site.url + path)
        if ready:
            tab.wait_ready()
        return tab

    return open_tab


@pytest.fixture
def tab(open_page: Callable[..., Tab]) -> Tab:
    return open_page()
