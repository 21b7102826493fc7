"""When things go wrong: the server, the network, the storage, very long conversations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_engine import SSE_FIELDS, Script, wait_until
from pages import GONE, Tab, Watch
from stand_in import Site, event, talk

OpenPage = Callable[..., Tab]


def test_the_server_stops_in_mid_answer(tab: Tab, watch: Watch) -> None:
    watch.expected += GONE
    tab.site.answer(talk(["word "] * 200, delay=0.05), talk(["and the rest."]))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word word").wait_for()
    tab.site.stop()
    tab.last(".state").get_by_text("The connection broke off. What came so far is kept.").wait_for()
    banner = tab.page.locator("[data-banner=gone]")
    assert "Tiny model does not answer. Start it again" in banner.inner_text()
    kept = tab.answers()[0]
    assert "word word" in kept
    tab.site.start()
    banner.wait_for(state="detached")
    tab.last(".state").get_by_role("button", name="Continue").click()
    tab.last(".body").get_by_text("and the rest.").wait_for()
    tab.wait_answer()
    assert tab.answers()[0].startswith(kept.rstrip()) and tab.answers()[0].endswith("and the rest.")


def test_try_again_after_it_stopped(tab: Tab, watch: Watch) -> None:
    watch.expected += GONE
    tab.send("Hi")
    tab.site.stop()
    tab.send("More")
    tab.last(".state").get_by_text("The connection broke off.").wait_for()
    tab.site.start()
    tab.page.locator("[data-banner=gone]").wait_for(state="detached")
    tab.last(".state").get_by_role("button", name="Try again").click()
    tab.last(".body").get_by_text("Hello there.").wait_for()


def test_an_answer_breaks_off(tab: Tab) -> None:
    tab.site.answer(talk(["half an answ"], finish=None))
    tab.send("Hi")
    assert tab.answers() == ["half an answ"]
    assert "broke off" in tab.last(".state").inner_text()


@pytest.mark.parametrize(
    "script",
    [
        Script([b"data: {broken\n\n"], fields=SSE_FIELDS),
        Script([b"\xff\xfe\x00garbage"], fields=SSE_FIELDS),
        Script([b"<html>not what was asked for</html>"], fields=[("Content-Type", "text/html")]),
        Script([b""], fields=SSE_FIELDS),
    ],
)
def test_an_answer_that_is_none(tab: Tab, script: Script) -> None:
    tab.site.answer(script)
    tab.send("Hi")
    tab.last(".state").get_by_text("broke off").wait_for()
    tab.site.answer(talk(["well"]))
    tab.last(".state").get_by_role("button", name="Try again").click()
    tab.last(".body").get_by_text("well").wait_for()


def test_an_error_of_the_server(tab: Tab, watch: Watch) -> None:
    watch.expected.extend(("400", "500"))  # what is the client's fault is said to be so
    error = {"error": {"message": "The <b>template</b> failed.", "code": 500, "type": "server_error"}}
    tab.site.answer(Script([json.dumps(error).encode()], 500), Script([event(**error)], fields=SSE_FIELDS))
    for _ in range(2):
        tab.send("Hi")
        assert "The answer failed: The <b>template</b> failed." in tab.last(".state").inner_text()


def test_an_error_page_of_a_proxy(tab: Tab, watch: Watch) -> None:
    watch.expected.append("502")
    tab.site.answer(Script([b"<h1>Bad gateway</h1>"], 502))
    tab.send("Hi")
    assert "Bad gateway" in tab.last(".state").inner_text()


def test_a_stall_is_told(site: Site, open_page: OpenPage, context: Any) -> None:
    context.clock.install()
    hold = threading.Event()

    tab = open_page()
    chunks = [event(choices=[{"index": 0, "delta": {"content": text}}]) for text in ("a", "b")]
    end = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])

    def slow() -> Any:
        yield from chunks
        hold.wait(20)
        yield end

    site.answer(Script(list_of(slow), fields=SSE_FIELDS))
    tab.send("Hi", wait=False)
    tab.last(".body").get_by_text("ab").wait_for()
    context.clock.fast_forward(11_000)
    tab.last(".state").get_by_text("Nothing has come for a while").wait_for()
    hold.set()
    tab.page.locator("#stop").wait_for(state="hidden")
    assert tab.last(".state").inner_text() == ""


class list_of(list[bytes]):  # noqa: N801 - reads like a function
    """A list whose items are made when they are asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make

    def __iter__(self) -> Any:
        return iter(self._make())


def test_storage_is_forbidden(open_page: OpenPage, context: Any) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    context.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    tab = open_page()
    banner = tab.page.locator("[data-banner=store]")
    assert "your chats are lost when it is closed" in banner.inner_text()
    tab.send("one")
    tab.page.click("#new")
    tab.send("two")
    assert tab.chats() == ["two", "one"]
    tab.page.locator("#chats .chat", has_text="one").click()
    tab.page.locator(".typed", has_text="one").wait_for()
    with tab.page.expect_download() as waiting:
        banner.get_by_role("button", name="Save all chats as a file").click()
    assert len(json.loads(waiting.value.path().read_text("utf-8"))["chats"]) == 2


def test_storage_is_full(open_page: OpenPage, context: Any) -> None:
    context.add_init_script(
        """const put = IDBObjectStore.prototype.put;
        IDBObjectStore.prototype.put = function (value) {
            if (JSON.stringify(value).length > 300) throw new DOMException("full", "QuotaExceededError");
            return put.call(this, value);
        };"""
    )
    tab = open_page()
    tab.send("short")
    tab.page.click("#new")
    tab.site.answer(talk(["long " * 200]))
    tab.send("of the long one")
    assert "has no room left" in tab.page.locator("[data-banner=store]").inner_text()
    tab.page.locator("#chats .chat", has_text="short").click()
    tab.page.locator("#chats .chat", has_text="of the long one").click()
    assert wait_until(lambda: bool(tab.answers()) and tab.answers()[0].startswith("long long"))


def test_a_server_that_cannot_tell_about_itself_yet(site: Site, open_page: OpenPage, watch: Watch) -> None:
    watch.expected.append("401")
    site.about = {"error": "not yet"}
    fails = [503, 500]
    known = site._about

    def about(environ: Any, start: Any) -> Any:
        if not fails:
            site.about = {"name": "tiny", "digest": "d"}
            return known(environ, start)
        watch.expected.append(str(fails[0]))
        body = json.dumps({"error": {"message": f"trouble {fails[0]}"}}).encode()
        start(f"{fails.pop(0)} Trouble", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    site._about = about  # type: ignore[method-assign]
    tab = open_page(ready=False)
    tab.page.locator("[data-banner=about]", has_text="trouble 503").wait_for()
    tab.page.locator("[data-banner=about]", has_text="trouble 500").wait_for()
    tab.wait_ready()
    assert tab.page.locator("[data-banner]").count() == 0
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]


def test_the_port_moved(site: Site, open_page: OpenPage) -> None:
    site.about["port"] = {"wanted": 8080, "got": 8081, "reason": "Another program has it."}
    tab = open_page()
    text = tab.page.locator("[data-banner=port]").inner_text()
    assert "Port 8080 was taken, so this page is at port 8081." in text
    assert "Another program has it." in text
    tab.page.locator("[data-banner=port]").get_by_role("button", name="Dismiss").click()
    assert tab.page.locator("[data-banner=port]").count() == 0


def test_another_bundle_takes_the_address(tab: Tab, watch: Watch) -> None:
    watch.expected += GONE
    tab.send("of the first bundle")
    tab.site.stop()
    tab.page.locator("[data-banner=gone]").wait_for()
    tab.site.about["digest"] = "another"
    tab.site.start()
    assert wait_until(lambda: tab.page.locator("#chats .chat").count() == 0)


def test_an_interrupted_answer_of_an_earlier_visit(tab: Tab) -> None:
    tab.site.answer(talk(["word "] * 400, delay=0.05), talk(["new"]))
    tab.send("Talk", wait=False)
    tab.last(".body").get_by_text("word").wait_for()
    tab.page.wait_for_timeout(1500)  # it is written down once a second
    tab.page.reload()
    tab.wait_ready()
    tab.last(".state").get_by_text("This answer was interrupted.").wait_for()
    assert "word" in tab.answers()[0]
    assert tab.last(".state").get_by_role("button", name="Continue").is_visible()


def long_chat(tab: Tab, turns: int, words: int) -> None:
    """Writes a conversation into the browser's database, and opens it."""
    name = tab.page.evaluate("(async () => (await indexedDB.databases()).map(({ name }) => name)[0])()")
    tab.page.evaluate(
        """async ([name, turns, words]) => {
            const opened = indexedDB.open(name);
            const db = await new Promise((done) => { opened.onsuccess = () => done(opened.result); });
            const action = db.transaction(["chats", "messages"], "readwrite");
            const now = Date.now();
            const chat = { id: "long", title: "long", pinned: false, created: now, updated: now };
            action.objectStore("chats").put({ ...chat, system: null, chosen: {} });
            for (let i = 0; i < turns; i++) {
                const role = i % 2 ? "assistant" : "user";
                const code = i % 2 ? "\\n\\n```py\\nx = 1\\n```" : "";
                const content = `Number ${i}. ` + "lorem **ipsum** dolor `sit` amet. ".repeat(words / 5) + code;
                const message = { id: `m${i}`, chat: "long", parent: i ? `m${i - 1}` : "", role, content };
                const rest = { reasoning: "", files: [], state: "done", note: "", stats: null, created: now + i };
                action.objectStore("messages").put({ ...message, ...rest });
            }
            await new Promise((done) => { action.oncomplete = done; });
            db.close();
        }""",
        [name, turns, words],
    )
    tab.page.goto(tab.site.url + "#long")
    tab.page.reload()
    tab.wait_ready()


def test_a_conversation_of_100_000_tokens(tab: Tab) -> None:
    long_chat(tab, turns=400, words=200)  # 400 times about 260 tokens
    shown = tab.page.locator(".message").count()
    assert 4 < shown < 60
    assert tab.page.locator(".message").last.text_content().count("Number 399.") == 1
    for _ in range(3):
        before = tab.page.locator(".message").count()
        top = tab.page.locator(".message").first.get_attribute("data-id")
        tab.page.evaluate("document.querySelector('#scroller').scrollTop = 0")
        assert wait_until(lambda before=before: tab.page.locator(".message").count() > before)
        assert tab.page.locator(f"[data-id={top}]").count() == 1
    assert tab.page.locator(".message").count() < 300
    tab.page.evaluate("document.querySelector('#to-end').click()")
    tab.send("And now?")
    assert tab.answers()[-1] == "Hello there."
    assert len(tab.site.asked[0]["messages"]) == 402
    spent = tab.page.evaluate(
        """async () => { const begin = performance.now(); document.querySelector("#new").click();
        await new Promise(requestAnimationFrame); document.querySelector("#chats .chat").click();
        await new Promise((done) => setTimeout(() => requestAnimationFrame(done)));
        return performance.now() - begin; }"""
    )
    assert spent < 1000, spent
