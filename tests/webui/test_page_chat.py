"""Chatting: streaming, stopping, asking again, branches, going on, copying, reasoning, figures."""

from __future__ import annotations

import json
import re

from fake_engine import wait_until
from pages import Tab, Watch
from stand_in import props, talk


def test_a_question_and_its_answer(tab: Tab) -> None:
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]
    assert tab.questions() == ["Hi"]
    (asked,) = tab.site.asked
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert asked["stream"] is True
    assert not {"temperature", "seed", "response_format"} & set(asked)


def test_the_answer_is_shown_while_it_comes(tab: Tab) -> None:
    tab.site.answer(talk([f"word{number} " for number in range(40)], delay=0.05))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word3").wait_for()
    assert "word39" not in tab.answers()[0]
    assert tab.page.locator("#send").is_hidden()
    tab.wait_answer()
    assert "word39" in tab.answers()[0]


def test_stop_keeps_what_came(tab: Tab) -> None:
    tab.site.answer(talk([f"word{number} " for number in range(400)], delay=0.05))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word2").wait_for()
    tab.page.click("#stop")
    tab.wait_answer()
    assert wait_until(lambda: len(tab.site.engine.cancelled) == 1)
    assert "word2" in tab.answers()[0]
    assert "You stopped this answer." in tab.last(".state").inner_text()
    tab.page.reload()
    tab.wait_ready()
    assert "word2" in tab.answers()[0]


def test_escape_stops(tab: Tab) -> None:
    tab.site.answer(talk(["word "] * 400, delay=0.05))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word").wait_for()
    tab.page.keyboard.press("Escape")
    tab.wait_answer()
    assert wait_until(lambda: len(tab.site.engine.cancelled) == 1)


def test_escape_closes_a_menu_first(tab: Tab) -> None:
    tab.site.answer(talk(["word "] * 400, delay=0.05))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word").wait_for()
    tab.page.locator("#chats li").hover()
    tab.page.locator("#chats [aria-haspopup]").click()
    tab.page.get_by_role("menuitem").first.wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("menuitem").first.wait_for(state="detached")
    assert tab.page.locator("#stop").is_visible()
    tab.page.keyboard.press("Escape")
    tab.wait_answer()


def test_answer_again_keeps_both(tab: Tab) -> None:
    tab.site.answer(talk(["first"]), talk(["second"]))
    tab.send("Hi")
    tab.last("footer").get_by_role("button", name="Answer again").click()
    tab.last(".body").get_by_text("second").wait_for()
    tab.wait_answer()
    assert tab.last(".branches").inner_text() == "2 of 2"
    tab.last().get_by_role("button", name="Previous version").click()
    assert tab.answers() == ["first"]
    tab.page.reload()
    tab.wait_ready()
    assert tab.answers() == ["first"]
    tab.last().get_by_role("button", name="Next version").click()
    assert tab.answers() == ["second"]


def test_edit_and_branch(tab: Tab) -> None:
    tab.site.answer(talk(["to one"]), talk(["to two"]), talk(["to other"]))
    tab.send("one")
    tab.send("two")
    first = tab.page.locator(".message.user").first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    first.locator("textarea").fill("other")
    first.get_by_role("button", name="Send").click()
    tab.last(".body").get_by_text("to other").wait_for()
    tab.wait_answer()
    assert (tab.questions(), tab.answers()) == (["other"], ["to other"])
    assert [one["content"] for one in tab.site.asked[-1]["messages"]] == ["Be brief.", "other"]
    tab.page.locator(".message.user").first.get_by_role("button", name="Previous version").click()
    assert (tab.questions(), tab.answers()) == (["one", "two"], ["to one", "to two"])


def test_edit_an_answer(tab: Tab) -> None:
    tab.send("Hi")
    tab.last("footer").get_by_role("button", name="Edit the answer").click()
    tab.last("textarea").fill("My own words")
    tab.last().get_by_role("button", name="Save").click()
    assert tab.answers() == ["My own words"]
    assert tab.last(".branches").inner_text() == "2 of 2"
    tab.send("And?")
    assert tab.site.asked[-1]["messages"][2] == {"role": "assistant", "content": "My own words"}


def test_the_last_message_is_edited_from_an_empty_field(tab: Tab) -> None:
    tab.send("Hi")
    tab.page.press("#text", "ArrowUp")
    editor = tab.page.locator(".message.user textarea")
    assert editor.input_value() == "Hi"
    editor.press("Escape")
    assert tab.questions() == ["Hi"]


def test_go_on_with_an_answer(tab: Tab) -> None:
    tab.site.answer(talk(["Once upon"], finish="length"), talk([" a time."]))
    tab.send("A story")
    assert "greatest length" in tab.last(".state").inner_text()
    tab.last(".state").get_by_role("button", name="Continue").click()
    tab.last(".body").get_by_text("Once upon a time.").wait_for()
    tab.wait_answer()
    assert tab.answers() == ["Once upon a time."]
    asked = tab.site.asked[-1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "Once upon"}
    assert (asked["add_generation_prompt"], asked["continue_final_message"]) == (False, "content")
    assert tab.last(".stats").inner_text().startswith("2 tokens")


def test_go_on_with_thoughts(tab: Tab) -> None:
    tab.site.answer(talk([], reasoning=["Hm"], finish="length"), talk(["Yes."], reasoning=[", well"]))
    tab.send("Think")
    tab.last(".state").get_by_role("button", name="Continue").click()
    tab.last(".body").get_by_text("Yes.").wait_for()
    asked = tab.site.asked[-1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "", "reasoning_content": "Hm"}
    assert asked["continue_final_message"] == "reasoning_content"


def test_copy(tab: Tab) -> None:
    tab.site.answer(talk(["Look:\n\n```py\nx = 1\ny = 2\n```\n"]))
    tab.send("Code")
    tab.last("footer").get_by_role("button", name="Copy the message").click()
    tab.page.get_by_text("Copied.").wait_for()
    assert tab.page.evaluate("navigator.clipboard.readText()") == "Look:\n\n```py\nx = 1\ny = 2\n```\n"
    tab.last(".code").get_by_role("button", name="Copy").click()
    tab.page.get_by_text("Copied.").nth(1).wait_for()
    assert tab.page.evaluate("navigator.clipboard.readText()") == "x = 1\ny = 2"


def test_reasoning_is_folded(tab: Tab) -> None:
    tab.site.answer(talk(["Four."], reasoning=["Two ", "and ", "two."], delay=0.15))
    tab.send("2+2?", wait=False)
    tab.last("summary").get_by_text("Thinking…").wait_for()
    tab.wait_answer()
    assert tab.last("summary").inner_text() == "Thoughts"
    thoughts = tab.last(".thoughts")
    assert not thoughts.is_visible()
    tab.last("summary").click()
    assert thoughts.inner_text() == "Two and two."
    assert tab.answers() == ["Four."]
    tab.send("And 3+3?")
    assert tab.site.asked[-1]["messages"][2] == {"role": "assistant", "content": "Four."}


def test_figures_are_shown(tab: Tab) -> None:
    tab.send("Hi")
    assert tab.last(".stats").inner_text() == "3 tokens · 40 per second"
    assert tab.page.locator("#context-words").inner_text() == "53 of 4,096 tokens"
    tab.type("x" * 360)
    assert tab.page.locator("#draft-words").inner_text() == "about 100 tokens"
    assert tab.page.locator("#context-words").inner_text() == "153 of 4,096 tokens"


def test_reading_the_prompt_is_shown(tab: Tab) -> None:
    tab.site.answer(talk(["Done"], progress=[0, 40, 80], delay=0.3))
    tab.send("Long", wait=False)
    tab.last(".state").get_by_text("Reading your message: 40 %").wait_for()
    tab.wait_answer()


def test_a_warning_before_the_context_is_full(tab: Tab) -> None:
    tab.site.answer(talk(["x"], timings={"cache_n": 3300, "prompt_n": 100}), talk(["y"], timings={"cache_n": 4200}))
    tab.send("Hi")
    banner = tab.page.locator("[data-banner=context]")
    assert re.search(r"fills 83 %", banner.inner_text())
    tab.send("More")
    assert "more than the model can hold" in banner.inner_text()
    banner.get_by_role("button", name="New chat").click()
    assert banner.count() == 0
    assert tab.answers() == []


def test_a_context_that_is_full(tab: Tab, watch: Watch) -> None:
    from fake_engine import Script

    error = {
        "code": 400,
        "message": "too long",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 5000,
        "n_ctx": 4096,
    }
    tab.site.answer(Script([json.dumps({"error": error}).encode()], 400))
    watch.expected.append("400")
    tab.send("Much")
    assert "5,000 tokens, and the model can hold 4,096" in tab.last(".state").inner_text()


def test_the_context_is_asked_for(site, open_page) -> None:  # type: ignore[no-untyped-def]
    site.engine.on("GET", "/props", props(n_ctx=1000))
    tab = open_page()
    tab.send("Hi")
    assert tab.page.locator("#context-words").inner_text() == "53 of 1,000 tokens"


def test_two_chats_are_answered_at_once(tab: Tab) -> None:
    tab.site.answer(talk(["slow "] * 30, delay=0.1), talk(["quick"]))
    tab.send("One", wait=False)
    tab.last(".body").get_by_text("slow").wait_for()
    tab.page.click("#new")
    tab.send("Two")
    assert tab.answers() == ["quick"]
    tab.page.locator("#chats .chat", has_text="One").click()
    tab.wait_answer()
    assert tab.answers()[0].count("slow") == 30


def test_the_reader_may_scroll_up_meanwhile(tab: Tab) -> None:
    tab.site.answer(talk([f"line {number}\n\n" for number in range(200)], delay=0.015))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("line 50", exact=True).wait_for()
    assert (
        tab.page.evaluate(
            "(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)"
            "(document.querySelector('#scroller'))"
        )
        < 100
    )
    tab.page.locator("#scroller").hover()
    tab.page.mouse.wheel(0, -2000)
    tab.page.locator("#to-end").wait_for()
    at = tab.page.evaluate("document.querySelector('#scroller').scrollTop")
    tab.last(".body").get_by_text("line 199", exact=True).wait_for(state="attached")
    assert abs(tab.page.evaluate("document.querySelector('#scroller').scrollTop") - at) < 5
    tab.page.click("#to-end")
    assert tab.page.locator("#to-end").is_hidden()
