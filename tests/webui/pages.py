"""A tab with the page, in the words of the tests; and the watch on all tabs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from fake_engine import wait_until
from stand_in import Site

GONE = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
"""What the console says of a server that ends."""

INSIDE = re.compile(r"https?://127\.0\.0\.1:\d+/|data:|blob:http://127\.0\.0\.1")


@dataclass
class Watch:
    """What the tabs asked for and what went wrong in them."""

    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Patterns of troubles that a test makes on purpose."""

    def add(self, page: Any) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.troubles.append(f"exception: {error}"))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def check(self) -> None:
        outside = [url for url in self.requests if not INSIDE.match(url)]
        assert not outside, f"requests left the origin: {outside}"
        found = [one for one in self.troubles if not any(re.search(pattern, one) for pattern in self.expected)]
        assert not found, found


class Tab:
    """One tab."""

    def __init__(self, page: Any, site: Site) -> None:
        self.page = page
        self.site = site

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def wait_ready(self) -> None:
        self.page.locator("#loading").wait_for(state="hidden")
        self.page.locator("#files[accept]").wait_for(state="attached")  # it is known what the model understands

    def until(self, expression: str, timeout: float = 8.0) -> None:
        """Wait until a JavaScript expression holds (Playwright's own wait would need eval, which the page forbids)."""
        assert wait_until(lambda: bool(self.page.evaluate(expression)), timeout), expression

    def type(self, text: str) -> None:
        self.page.fill("#text", text)

    def send(self, text: str, *, wait: bool = True) -> None:
        self.type(text)
        self.page.press("#text", "Enter")
        if wait:
            self.wait_answer()

    def wait_answer(self) -> None:
        """Wait until no answer is being written."""
        self.page.locator(".message.assistant").last.wait_for()
        self.page.locator("#stop").wait_for(state="hidden")

    def answers(self) -> list[str]:
        texts: list[str] = self.page.locator(".message.assistant .body").all_text_contents()
        return texts

    def questions(self) -> list[str]:
        texts: list[str] = self.page.locator(".message.user .typed").all_text_contents()
        return texts

    def chats(self) -> list[str]:
        texts: list[str] = self.page.locator("#chats .chat").all_inner_texts()
        return texts

    def last(self, selector: str = "") -> Any:
        return self.page.locator(f".message.assistant {selector}").last

    def chat_menu(self, title: str, item: str) -> None:
        row = self.page.locator("#chats li", has_text=title)
        row.hover()
        row.locator("[aria-haspopup]").click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def stored(self) -> dict[str, list[Any]]:
        """What the bundle's database holds, by table."""
        found: dict[str, list[Any]] = self.page.evaluate(
            """async () => {
                const name = (await indexedDB.databases()).find((one) => one.name.startsWith("solofile-")).name;
                const opened = indexedDB.open(name);
                const db = await new Promise((done) => { opened.onsuccess = () => done(opened.result); });
                const all = (table) => new Promise((done) => {
                    const r = db.transaction(table).objectStore(table).getAll(); r.onsuccess = () => done(r.result); });
                const result = {};
                for (const table of db.objectStoreNames) result[table] = await all(table);
                db.close();
                return result;
            }"""
        )
        return found
