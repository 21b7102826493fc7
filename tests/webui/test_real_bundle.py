"""The page of the real bundle: nothing of the server is a stand-in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import Tab, Watch

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

from running import QUESTION, Running, serve


@pytest.fixture(scope="module")
def server(smollm2_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    cache = tmp_path_factory.mktemp("cache") / "solofile"
    with serve([smollm2_bundle, "--server", "-c", "2048"], {**os.environ, "SOLOFILE_CACHE": str(cache)}) as running:
        yield running


@pytest.fixture
def tab(server: Running, context: Any, site: Any) -> Tab:
    made = Tab(context.new_page(), site)
    made.page.set_default_timeout(60_000)
    made.page.goto(server.url)
    made.wait_ready()
    return made


def test_it_knows_the_capital_of_france(tab: Tab) -> None:
    tab.page.click("#settings")
    tab.page.fill("#set-temperature", "0")
    tab.page.fill("#set-max_tokens", "40")
    tab.page.keyboard.press("Escape")
    tab.send(QUESTION)
    assert "Paris" in tab.answers()[0]
    assert "per second" in tab.last(".stats").inner_text()
    assert "of 2,048 tokens" in tab.page.locator("#context-words").inner_text()
    tab.page.reload()
    tab.wait_ready()
    assert "Paris" in tab.answers()[0]


def test_stop_and_go_on(tab: Tab) -> None:
    tab.send("Tell me a long story about a fox.", wait=False)
    tab.last(".body > *").first.wait_for()
    tab.page.click("#stop")
    tab.wait_answer()
    begun = tab.answers()[0]
    assert begun
    assert "per second" in tab.last(".stats").inner_text()
    assert int(tab.page.locator("#context-words").inner_text().split()[0]) > 30, "what was stopped is in the context"
    tab.last(".state").get_by_role("button", name="Continue").click()
    tab.page.locator("#stop").wait_for()
    tab.until(f"document.querySelector('.message.assistant .body').textContent.length > {len(begun)}", 30)
    tab.page.click("#stop")
    tab.wait_answer()
    assert tab.answers()[0].startswith(begun)
    assert len(tab.answers()[0]) > len(begun)


def test_a_schema_forms_the_answer(tab: Tab) -> None:
    import json

    tab.page.click("#settings")
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    tab.page.fill("#schema", json.dumps(schema))
    tab.page.fill("#set-max_tokens", "60")
    tab.page.keyboard.press("Escape")
    tab.send(QUESTION)
    assert set(json.loads(tab.answers()[0])) == {"city"}


def test_a_file_is_counted_and_read(tab: Tab) -> None:
    tab.page.set_input_files(
        "#files", [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"The fox is blue. " * 20}]
    )
    tab.page.locator("#attached").get_by_text("tokens").wait_for()
    count = int(tab.page.locator("#attached .hint").inner_text().split()[0])
    assert 90 < count < 140


def test_too_long_for_the_context(tab: Tab, watch: Watch) -> None:
    watch.expected.append("400")
    tab.send("word " * 4000)
    tab.last(".state").get_by_text("the model can hold 2,048").wait_for()
