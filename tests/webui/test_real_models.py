"""The page of a real bundle of two tiny models, one of which sees: the change between them, and a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import GONE, Tab, Watch
from test_page_attachments import PNG

sys.path[:0] = [str(Path(__file__).parents[1] / "e2e"), str(Path(__file__).parents[1])]

from running import Running, serve  # noqa: E402
from tiny_model import write_tiny_model, write_tiny_projector  # noqa: E402

RECIPE = """
name = "pair"
title = "Two models"
greeting = "Welcome to both."
arguments = ["-n", "8"]
[[models]]
path = "plain.gguf"
[[models]]
path = "seeing.gguf"
[models.projector]
path = "mmproj.gguf"
"""


@pytest.fixture(scope="module")
def server(pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("pair")
    write_tiny_model(folder / "plain.gguf", layers=2)
    write_tiny_model(folder / "seeing.gguf", pictures=True)
    write_tiny_projector(folder / "mmproj.gguf")
    (folder / "pair.toml").write_text(RECIPE)
    command = [*solofile, "build", str(folder / "pair.toml"), "-o", str(folder / "pair.exe"), "--pack", str(pack)]
    subprocess.run(command, check=True, timeout=300)
    environment = {**os.environ, "SOLOFILE_CACHE": str(folder / "cache")}
    with serve([folder / "pair.exe", "--server"], environment) as running:
        yield running


@pytest.fixture
def tab(server: Running, context: Any, site: Any, watch: Watch) -> Tab:
    watch.expected += GONE  # the connections of the process that was replaced
    made = Tab(context.new_page(), site)
    made.page.set_default_timeout(60_000)
    made.page.goto(server.url)
    made.wait_ready()
    return made


def change(tab: Tab, name: str) -> None:
    tab.page.click("#models")
    tab.page.get_by_role("menuitem", name=name).click()
    tab.until(f"document.querySelector('#models').textContent === '{name}'", 60)
    tab.wait_ready()


def test_a_change_and_a_picture(tab: Tab) -> None:
    assert tab.page.locator(".hello").inner_text() == "Welcome to both."
    assert tab.page.locator("#models").inner_text() == "plain"  # the larger one
    assert "image/*" not in tab.page.locator("#files").get_attribute("accept")
    tab.send("One")
    change(tab, "seeing")
    assert "image/*" in tab.page.locator("#files").get_attribute("accept")
    tab.page.set_input_files("#files", [{"name": "dot.png", "mimeType": "image/png", "buffer": PNG}])
    tab.page.locator("#attached img").wait_for()
    tab.send("Two")
    assert tab.questions() == ["One", "Two"]
    assert len(tab.answers()) == 2
    assert "per second" in tab.last(".stats").inner_text()
    assert tab.page.locator("[data-banner]").count() == 0
    change(tab, "plain")
    tab.page.click("#new")
    tab.send("Three")
    assert len(tab.answers()) == 1
