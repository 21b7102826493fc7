"""From the first byte to the first answer: the load, its failure, messages that wait, the key, the first paint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_engine import FakeEngine, wait_until
from pages import Tab, Watch
from stand_in import Site

OpenPage = Callable[..., Tab]


@pytest.fixture
def loading(site: Site) -> Site:
    site.engine.become("loading", 0.25, "")
    return site


def test_the_load_is_shown_and_then_the_chat(loading: Site, open_page: OpenPage) -> None:
    loading.status = {
        "size": 4_700_000_000, "hardware": "8 cores, 32 GB", "choice": "haswell on 8 threads",
        "reading": {"done": 1_175_000_000, "total": 4_700_000_000, "speed": 150_000_000, "remaining": 23},
    }  # fmt: skip
    tab = open_page(ready=False)
    place = tab.page.locator("#loading")
    place.get_by_role("heading", name="Tiny model is being loaded").wait_for()
    text = place.inner_text()
    for words in (
        "25 %",
        "4.7 GB",
        "8 cores, 32 GB",
        "haswell on 8 threads",
        "1.2 GB of 4.7 GB read, 150 MB/s, about 23 seconds left",
    ):
        assert words in text, words
    assert tab.page.locator("#progress").evaluate("(bar) => bar.value") == 0.25
    loading.engine.become("loading", 0.5)
    place.get_by_text("50 %").wait_for()
    loading.engine.become("ready")
    tab.page.get_by_text("What may I do for you?").wait_for()
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]


@pytest.mark.usefixtures("loading")
def test_old_servers_say_less(open_page: OpenPage) -> None:
    tab = open_page(ready=False)
    tab.page.locator("#loading").get_by_text("You can already write").wait_for()
    assert tab.page.locator("#load-facts dt").count() == 0


@pytest.mark.usefixtures("loading")
def test_the_field_is_ready_before_the_model(open_page: OpenPage) -> None:
    tab = open_page(ready=False)
    tab.page.locator("#loading:visible").wait_for()
    assert tab.page.evaluate("document.activeElement.id") == "text"
    tab.page.keyboard.type("early")
    assert tab.page.input_value("#text") == "early"


def test_messages_wait_for_the_model(loading: Site, open_page: OpenPage) -> None:
    tab = open_page(ready=False)
    tab.page.locator("#loading:visible").wait_for()
    for text in ("one", "two", "three"):
        tab.page.keyboard.type(text)
        tab.page.keyboard.press("Enter")
    assert tab.page.locator(".queued").count() == 3
    tab.page.locator(".queued").nth(1).get_by_role("button", name="Take it back").click()
    assert tab.page.input_value("#text") == "two"
    assert loading.asked == []
    loading.engine.become("ready")
    tab.wait_answer()
    assert loading.asked[0]["messages"][1]["content"] == "one\n\nthree"
    assert tab.page.input_value("#text") == "two"


def test_chats_are_read_while_it_loads_and_each_keeps_what_waits(site: Site, open_page: OpenPage) -> None:
    tab = open_page()
    tab.send("Of an earlier day")
    site.engine.become("loading", 0.2)
    tab.page.goto(site.url)
    tab.page.locator("#loading:visible").wait_for()
    tab.page.keyboard.type("of a new chat")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#chats .chat", has_text="Of an earlier day").click()
    tab.page.locator(".typed", has_text="Of an earlier day").wait_for()
    assert tab.page.locator(".queued").count() == 0
    tab.last("footer").get_by_role("button", name="Answer again").click()
    tab.page.locator(".toast", has_text="Tiny model is being loaded").wait_for()
    tab.page.fill("#text", "of this one")
    tab.page.keyboard.press("Enter")
    assert tab.page.locator(".queued").count() == 1
    site.engine.become("ready")
    assert wait_until(lambda: len(site.asked) == 3)
    tab.wait_ready()
    tab.wait_answer()
    assert tab.questions() == ["Of an earlier day", "of this one"]
    tab.page.locator("#chats .chat", has_text="of a new chat").click()
    assert wait_until(lambda: (tab.questions(), tab.answers()) == (["of a new chat"], ["Hello there."]))


def test_a_file_waits_for_the_model(loading: Site, open_page: OpenPage) -> None:
    tab = open_page(ready=False)
    tab.page.locator("#loading:visible").wait_for()
    tab.page.set_input_files("#files", [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"one two three"}])
    tab.page.locator("#attached").get_by_text("being read").wait_for()
    loading.engine.become("ready")
    tab.page.locator("#attached").get_by_text("3 tokens").wait_for()


@pytest.mark.parametrize("phase", ["loading", "failed"])
def test_quit_without_the_model(site: Site, open_page: OpenPage, phase: str) -> None:
    site.engine.become(phase, 0.2, "")
    tab = open_page(ready=False)
    tab.page.click("#quit")
    tab.page.get_by_role("dialog").get_by_role("button", name="Quit").click()
    tab.page.get_by_role("heading", name="The program has ended").wait_for()
    assert site.quitted.is_set()
    tab.page.wait_for_timeout(400)
    seen = len(site.seen)
    tab.page.wait_for_timeout(1000)
    assert len(site.seen) == seen, "it goes on asking"


def test_a_draft_outlives_a_reload(tab: Tab) -> None:
    tab.type("half a thought")
    tab.page.reload()
    tab.wait_ready()
    assert tab.page.input_value("#text") == "half a thought"


def test_a_load_that_fails(site: Site, open_page: OpenPage) -> None:
    site.engine.become("failed", 0.1, "The model needs 9 GB of memory, and 3 GB are free: close other programs.")
    tab = open_page(ready=False)
    place = tab.page.locator("#loading")
    place.get_by_role("heading", name="Tiny model could not be loaded").wait_for()
    assert "The model needs 9 GB of memory, and 3 GB are free: close other programs." in place.inner_text()
    assert "start the file again" in place.inner_text()
    assert tab.page.locator("#progress").is_hidden()


def test_the_program_ends_while_it_loads(loading: Site, open_page: OpenPage, watch: Watch) -> None:
    watch.expected.append("ERR_")
    tab = open_page(ready=False)
    tab.page.locator("#loading:visible").wait_for()
    loading.stop()
    tab.page.locator("[data-banner=gone]").get_by_text("Tiny model does not answer.").wait_for()
    loading.engine.become("ready")
    loading.start()
    tab.page.locator("[data-banner=gone]").wait_for(state="detached")
    tab.wait_ready()
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]


def test_the_key_is_asked_for_once(site: Site, open_page: OpenPage, watch: Watch) -> None:
    watch.expected.append("401")
    site.keys = ("secret",)
    tab = open_page(ready=False)
    tab.page.get_by_text("This server asks for its API key.").wait_for()
    tab.page.keyboard.type("wrong")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("This key is not the server's.").wait_for()
    tab.page.keyboard.type("secret")
    tab.page.keyboard.press("Enter")
    tab.wait_ready()
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]
    tab.page.reload()
    tab.wait_ready()
    tab.send("Again")
    tab.page.click("#about")
    assert "Authorization: Bearer $API_KEY" in tab.page.locator("dialog pre").first.inner_text()
    # Another tab does not know it, unless it was to be remembered.
    other = open_page(ready=False)
    other.page.locator("#key").fill("secret")
    other.page.locator("#key-remember").check()
    other.page.keyboard.press("Tab")
    other.page.keyboard.press("Enter")
    other.wait_ready()
    third = open_page()
    third.send("Hi")


def test_under_a_prefix(site: Site, open_page: OpenPage) -> None:
    site.prefix = "/llm"
    tab = open_page()
    tab.send("Hi")
    tab.page.click("#about")
    assert f"{site.url}v1/chat/completions" in tab.page.locator("dialog pre").first.inner_text()


def test_first_paint(open_page: OpenPage, new_context: Callable[..., Any]) -> None:
    """Under 300 ms from the first byte, with a cold cache; the field has the focus by then."""
    times = []
    for _ in range(3):
        tab = open_page(ready=False, in_context=new_context())
        tab.until("performance.getEntriesByName('first-contentful-paint').length")
        times.append(
            tab.page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                " - performance.getEntriesByType('navigation')[0].responseStart"
            )
        )
    print("first paint after", ", ".join(f"{one:.0f} ms" for one in times))
    assert min(times) < 300, times


def test_a_second_visit_fetches_nothing_anew(tab: Tab) -> None:
    tab.page.reload()
    tab.wait_ready()
    sizes = tab.page.evaluate(
        "performance.getEntriesByType('resource')"
        ".filter((one) => /\\.(js|css)$/.test(one.name)).map((one) => one.transferSize)"
    )
    assert len(sizes) > 20
    assert sum(sizes) < 20_000, "files came again instead of a 304"


def test_nothing_is_asked_while_idle(tab: Tab) -> None:
    tab.send("Hi")
    tab.page.wait_for_timeout(500)
    seen = len(tab.site.seen)
    tab.page.wait_for_timeout(6000)
    assert tab.site.seen[seen:] == []
    assert tab.site.seen.count("GET /solofile/events") == 1


def test_one_stream_for_all_tabs(tab: Tab, open_page: OpenPage) -> None:
    """Browsers open six connections to a server: the seventh tab would wait for ever."""
    tabs = [open_page() for _ in range(7)]
    assert tab.site.seen.count("GET /solofile/events") == 1
    tabs[-1].send("Hi")
    tab.page.close()
    assert wait_until(lambda: tab.site.seen.count("GET /solofile/events") == 2)


def test_a_fresh_engine_loads_in_the_middle(site: Site, open_page: OpenPage, watch: Watch) -> None:
    """The program was started again: the page waits for its model, without a reload."""
    watch.expected.append("ERR_")
    tab = open_page()
    tab.send("Hi")
    engine: FakeEngine = site.engine
    site.stop()
    tab.page.locator("[data-banner=gone]").wait_for()
    engine.become("loading", 0.3)
    site.start()
    tab.page.locator("#loading:visible").wait_for()
    engine.become("ready")
    tab.page.locator("#loading").wait_for(state="hidden")
    tab.page.locator("[data-banner=gone]").wait_for(state="detached")
    tab.send("Again")
    assert tab.questions() == ["Hi", "Again"]
