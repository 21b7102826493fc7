"""For everybody: axe, the keyboard alone, screen readers, right-to-left text, narrow screens, less motion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pages import Tab
from screenshots import ANSWER
from stand_in import Site, talk

OpenPage = Callable[..., Tab]


def violations(tab: Tab) -> list[str]:
    """What axe calls serious or critical."""
    from importlib.resources import files

    tab.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8") + "\n;0")
    found = tab.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [
        f"{one['id']}: {node['html'][:150]} {node.get('failureSummary', '')[:300]}"
        for one in serious
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_axe_finds_nothing(
    site: Site, open_page: OpenPage, new_context: Callable[..., Any], scheme: str, width: int
) -> None:
    context = new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    site.engine.become("loading", 0.3)
    site.status = {"hardware": "2 cores", "choice": "x64 on 2 threads"}
    tab = open_page(ready=False, in_context=context)
    tab.page.locator("#load-facts dt").first.wait_for()
    assert violations(tab) == []
    site.engine.become("ready")
    tab.wait_ready()
    assert violations(tab) == []
    site.answer(talk([ANSWER, "\n- [ ] open\n- [x] done\n"], reasoning=["Hm."]), talk(["x"], finish="length"))
    tab.send("What is the mean?")
    tab.page.locator(".c-kwd").first.wait_for()
    tab.send("And then?")
    tab.page.set_input_files("#files", [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"}])
    assert violations(tab) == []
    for button in ("#settings", "#prompts", "#about", "#shortcuts", "#quit"):
        if width < 800 and tab.page.locator("#open-side").is_visible():
            tab.page.click("#open-side")
            if button == "#settings":
                assert violations(tab) == []
        tab.page.click(button)
        assert violations(tab) == [], button
        tab.page.keyboard.press("Escape")


def test_by_keyboard_alone(tab: Tab) -> None:
    keys = tab.page.keyboard
    tab.site.answer(talk(["one"]), talk(["two"]), talk(["three"]))
    keys.type("Hi")
    keys.press("Shift+Enter")
    keys.type("there")
    keys.press("Enter")
    tab.wait_answer()
    assert tab.questions() == ["Hi\nthere"]
    keys.press("Alt+r")
    tab.last(".body").get_by_text("two").wait_for()
    tab.wait_answer()
    keys.press("Alt+c")
    tab.page.get_by_text("Copied.").wait_for()
    keys.press("Control+Shift+KeyO")
    assert tab.answers() == []
    keys.type("Second")
    keys.press("Enter")
    tab.last(".body").get_by_text("three").wait_for()
    tab.wait_answer()
    keys.press("Alt+ArrowDown")
    tab.last(".body").get_by_text("two").wait_for()
    keys.press("Alt+ArrowUp")
    tab.last(".body").get_by_text("three").wait_for()
    keys.press("Control+k")
    keys.type("there")
    tab.page.locator("#chats .chat", has_text="Second").wait_for(state="detached")
    keys.press("ArrowDown")
    keys.press("Enter")
    tab.last(".body").get_by_text("two").wait_for()
    keys.press("Control+b")
    assert tab.page.locator("#side").is_hidden()
    keys.press("Control+b")
    keys.press("Control+Comma")
    tab.page.get_by_role("dialog", name="Settings").wait_for()
    keys.press("Escape")
    keys.press("Control+Slash")
    listed = tab.page.get_by_role("dialog", name="Keyboard shortcuts")
    assert "Answer again" in listed.inner_text()
    keys.press("Escape")


def test_every_shortcut_is_listed(tab: Tab) -> None:
    count = tab.page.evaluate("(async () => (await import('./keyboard.js')).SHORTCUTS.length)()")
    tab.page.click("#shortcuts")
    assert tab.page.locator(".keys dt").count() == count + 3


def test_a_menu_by_keyboard(tab: Tab) -> None:
    tab.send("Hi")
    tab.page.locator("#chats .chat").focus()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.role") == "menuitem"
    tab.page.keyboard.press("ArrowDown")
    assert tab.page.evaluate("document.activeElement.textContent") == "Rename"
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate("document.activeElement.ariaHasPopup") == "menu"


def test_focus_is_seen(tab: Tab) -> None:
    seen = set()
    for _ in range(14):
        tab.page.keyboard.press("Tab")
        style = tab.page.evaluate(
            "(({ outlineStyle, outlineWidth }) => [outlineStyle, outlineWidth])"
            "(getComputedStyle(document.activeElement))"
        )
        name = tab.page.evaluate("document.activeElement.id || document.activeElement.className")
        seen.add(name)
        if name not in {"", "text", "scroller"}:  # the body's turn; the message's frame shows it; it is only scrolled
            assert style[0] != "none" and style[1] != "0px", name
    assert {"new", "search", "settings", "about", "attach", "send"} <= seen


def test_focus_stays_in_a_dialog_and_comes_back(tab: Tab) -> None:
    tab.page.locator("#about").focus()
    tab.page.keyboard.press("Enter")
    for _ in range(9):
        tab.page.keyboard.press("Tab")
        assert tab.page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
        )
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate("document.activeElement.id") == "about"


def test_answers_are_read_out_block_by_block(tab: Tab) -> None:
    tab.site.answer(talk(["First paragraph.\n\n", "Second paragraph.\n\n", "```py\nx = 1\n```\n"]))
    tab.send("Talk")
    said = tab.page.locator("#announcer p").all_text_contents()
    assert said == ["First paragraph.", "Second paragraph.", "Code: py", "The answer is complete."]
    assert tab.page.get_attribute("#announcer", "aria-live") == "polite"


def test_right_to_left(tab: Tab) -> None:
    tab.site.answer(talk(["مرحبا بالعالم\n\n- واحد\n- اثنان\n\n```py\nx = 1\n```\n\nHello"]))
    tab.send("قل مرحبا")
    directions = tab.last(".body").evaluate(
        "(body) => [...body.children].map((one) => getComputedStyle(one.querySelector('code') ?? one).direction)"
    )
    assert directions == ["rtl", "rtl", "ltr", "ltr"]
    assert tab.page.locator(".typed").evaluate("(one) => getComputedStyle(one).direction") == "rtl"
    assert tab.page.locator("#chats .chat span").evaluate("(one) => getComputedStyle(one).direction") == "rtl"
    tab.type("كيف حالك")
    assert tab.page.locator("#text").evaluate("(one) => getComputedStyle(one).direction") == "rtl"


@pytest.mark.parametrize("width", [360, 600, 820, 1440, 2560])
def test_nothing_is_cut_off(site: Site, open_page: OpenPage, new_context: Callable[..., Any], width: int) -> None:
    tab = open_page(in_context=new_context(viewport={"width": width, "height": 700}))
    site.answer(
        talk([ANSWER + "\n\n" + "x" * 300 + "\n\n| " + " | ".join("wide" * 4 for _ in range(12)) + " |\n|" + "-|" * 12])
    )
    tab.send("y" * 200)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.page.evaluate(
        "document.querySelector('#scroller').scrollWidth <= document.querySelector('#scroller').clientWidth"
    )
    for selector in ("#text", "#send", "#attach"):
        box = tab.page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 700


def test_the_drawer(open_page: OpenPage, new_context: Callable[..., Any]) -> None:
    tab = open_page(in_context=new_context(viewport={"width": 360, "height": 700}))
    tab.send("Hi")
    assert tab.page.locator("#side").is_hidden()
    tab.page.click("#open-side")
    assert tab.page.locator("main").evaluate("(main) => main.inert")
    tab.page.locator("#chats .chat").click()
    assert tab.page.locator("#side").is_hidden()
    tab.page.click("#open-side")
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#side").is_hidden()
    assert tab.page.evaluate("document.activeElement.id") == "open-side"


def test_less_motion(site: Site, open_page: OpenPage, new_context: Callable[..., Any]) -> None:
    site.engine.on("POST", "/v1/chat/completions", talk(["x"] * 50, delay=0.2))
    moving = "getComputedStyle(document.querySelector('.dots')).animationName"
    still = open_page(in_context=new_context(reduced_motion="reduce"))
    still.send("Hi", wait=False)
    still.page.locator(".dots").first.wait_for(state="attached")
    assert still.page.evaluate(moving) == "none"
    still.page.keyboard.press("Escape")
    tab = open_page()
    tab.send("Hi", wait=False)
    tab.page.locator(".dots").first.wait_for(state="attached")
    assert tab.page.evaluate(moving) == "pulse"
    tab.page.keyboard.press("Escape")
    tab.wait_answer()
