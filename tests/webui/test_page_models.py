"""The bundle's models on the page: which runs, what the others take, the change to one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pages import Tab
from stand_in import Site, props, talk

MODELS = [
    {"name": "small", "size": 98_000_000, "fits": True, "context_length": 2048},
    {"name": "large", "size": 4_900_000_000, "fits": True, "context_length": 8192},
    {"name": "huge", "size": 40_000_000_000, "fits": False, "context_length": 8192},
]


@pytest.fixture
def models(site: Site) -> Site:
    site.about |= {"models": MODELS, "model": "large", "can_switch": True}
    return site


def test_one_model_has_no_choice(open_page: Callable[..., Tab]) -> None:
    assert open_page().locator("#models").is_hidden()


def test_they_are_listed(models: Site, open_page: Callable[..., Tab]) -> None:
    assert models.about["model"] == "large"
    tab = open_page()
    assert tab.locator("#models").inner_text() == "large"
    tab.click("#models")
    assert tab.locator(".menu button").all_inner_texts() == [
        "small · 98 MB · fits",
        "large · 4.9 GB · fits",
        "huge · 40 GB · does not fit into the memory",
    ]
    tab.get_by_role("menuitem", name="large").click()  # it runs already
    assert "POST /solofile/model" not in models.seen


def test_it_changes(models: Site, open_page: Callable[..., Tab]) -> None:
    tab = open_page()
    tab.send("Before")
    tab.click("#models")
    models.engine.on("GET", "/props", props(n_ctx=2048))
    tab.get_by_role("menuitem", name="small").click()
    tab.locator("#loading").wait_for()  # as at the start
    assert tab.locator("#models").inner_text() == "large"
    tab.send("Meanwhile", wait=False)
    tab.locator("#queue", has_text="Meanwhile").wait_for()
    tab.locator("#loading").wait_for(state="hidden")
    tab.until("document.querySelector('#models').textContent === 'small'")
    tab.wait_answer()
    assert tab.questions() == ["Before", "Meanwhile"]  # the conversation goes on with the other model
    tab.until("document.querySelector('#context-words').textContent.includes('2,048')")
    assert tab.locator("[data-banner]").count() == 0
    assert models.seen.count("POST /solofile/model") == 1


def test_not_while_an_answer_is_written(models: Site, open_page: Callable[..., Tab]) -> None:
    models.answer(talk(["word "] * 100, delay=0.1))
    tab = open_page()
    tab.send("Talk", wait=False)
    tab.locator("#stop").wait_for()
    tab.click("#models")
    tab.get_by_role("menuitem", name="small").click()
    tab.locator(".toast").wait_for()
    assert "POST /solofile/model" not in models.seen
    tab.click("#stop")


def test_where_a_program_cannot_change_it(models: Site, open_page: Callable[..., Tab]) -> None:
    models.about["can_switch"] = False
    tab = open_page()
    tab.click("#models")
    tab.get_by_role("menuitem", name="huge").click()
    tab.locator(".toast", has_text="start it again with --use huge").wait_for()
    assert "POST /solofile/model" not in models.seen


def test_in_german(models: Site, new_context: Callable[..., Any], open_page: Callable[..., Tab]) -> None:
    assert models.about["can_switch"]
    tab = open_page(in_context=new_context(locale="de-DE"))
    tab.click("#models")
    assert tab.locator(".menu button").last.inner_text() == "huge · 40 GB · passt nicht in den Speicher"


def test_the_greeting(site: Site, open_page: Callable[..., Tab]) -> None:
    site.about["greeting"] = "Welcome to the lab."
    assert open_page().locator(".hello").inner_text() == "Welcome to the lab."


def test_a_picture_may_be_attached_where_the_model_sees(site: Site, open_page: Callable[..., Tab]) -> None:
    site.engine.on("GET", "/props", props(image=True))
    tab = open_page()
    assert "image/*" in tab.locator("#files").get_attribute("accept")
