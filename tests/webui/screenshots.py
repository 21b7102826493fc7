"""Makes pictures of the page at three widths, light and dark:  python tests/webui/screenshots.py OUT [URL]

Of a scripted server; with the URL of a bundle that runs, of a conversation with its model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from chromium import CHROMIUM, FLAGS  # noqa: E402
from pages import Tab  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from stand_in import Site, props, talk  # noqa: E402

WIDTHS = {"phone": (360, 740), "tablet": (820, 1100), "wide": (1440, 900)}

ANSWER = """The **mean** of a sample is $\\bar{x} = \\frac{1}{n}\\sum_{i=1}^{n} x_i$. In Python:

```python
def mean(values: list[float]) -> float:
    \"\"\"The arithmetic mean of values.\"\"\"
    if not values:
        raise ValueError("there is nothing to average")
    return sum(values) / len(values)
```

It is easily moved by outliers, which the *median* is not:

| values | mean | median |
|---|---:|---:|
| 1, 2, 3 | 2 | 2 |
| 1, 2, 300 | 101 | 2 |

1. Sort the values.
2. Take the one in the middle:
   - of an even number, the mean of both.
"""

QUESTIONS = ("What is the mean, and what the median?", "How do I bake bread?", "Plan a week in Lisbon")


def pictures(browser: Any, folder: Path, url: str) -> None:
    for scheme in ("light", "dark"):
        for name, (width, height) in WIDTHS.items():
            site = Site()
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                locale="en-GB",
                reduced_motion="reduce",
            )
            tab = Tab(context.new_page(), site)
            if url:
                shown = conversation(tab, url, narrow=width < 800)
            else:
                site.start()
                shown = parts(tab, narrow=width < 800)
            for part, picture in shown:
                picture()
                tab.page.wait_for_timeout(250)
                tab.page.screenshot(path=folder / f"{part}-{name}-{scheme}.png")
            context.close()
            site.stop()


REAL_QUESTIONS = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "How do I sort a list in Python? Show code.",
)


def conversation(tab: Tab, url: str, narrow: bool) -> Any:
    """The same, with a real model."""
    page = tab.page

    def first() -> None:
        page.goto(url)
        tab.wait_ready()

    def ask(question: str) -> Any:
        def act() -> None:
            page.set_default_timeout(120_000)
            tab.send(question)

        return act

    def under_way() -> None:
        tab.send("Tell me a long story about a fox.", wait=False)
        page.locator(".message.assistant").last.locator(".body > *").first.wait_for()
        page.wait_for_timeout(1500)

    def stopped() -> None:
        page.click("#stop")
        tab.wait_answer()

    def opened(button: str) -> Any:
        def act() -> None:
            page.keyboard.press("Escape")
            if narrow and page.locator("#open-side:visible").count():
                page.click("#open-side")
            page.click(button)

        return act

    yield "real-first", first
    for number, question in enumerate(REAL_QUESTIONS):
        yield f"real-{number}", ask(question)
    yield "real-under-way", under_way
    yield "real-stopped", stopped
    for button in ("settings", "about", "quit"):
        yield f"real-{button}", opened(f"#{button}")


def parts(tab: Tab, narrow: bool) -> Any:
    """Names of pictures, and what leads to them."""
    page, site = tab.page, tab.site

    def loading() -> None:
        site.engine.become("loading", 0.42, "")
        site.status = {
            "size": 807_694_464,
            "hardware": "AMD Ryzen 7 5800X, 16 threads, 32 GB of memory",
            "choice": "haswell on 8 threads (the fastest of the 14 in this bundle that work here)",
        }
        page.goto(site.url)
        page.locator("#loading:visible").wait_for()

    def empty() -> None:
        site.engine.become("ready")
        tab.wait_ready()

    def chat() -> None:
        for question in reversed(QUESTIONS):
            site.answer(talk([ANSWER], reasoning=["The user wants both. I explain the mean first."]))
            if question != QUESTIONS[-1]:
                page.keyboard.press("Control+Shift+KeyO")
            tab.send(question)
        page.locator(".c-kwd").first.wait_for()

    def top() -> None:
        page.evaluate("document.querySelector('#scroller').scrollTop = 0")

    def side() -> None:
        if narrow:
            page.click("#open-side")

    def opened(button: str) -> Any:
        def act() -> None:
            page.keyboard.press("Escape")
            if narrow and page.locator("#open-side:visible").count():
                page.click("#open-side")
            page.click(button)

        return act

    def attached() -> None:
        page.keyboard.press("Escape")
        if narrow and page.locator("#close-side:visible").count():
            page.click("#close-side")
        site.engine.on("GET", "/props", props(image=True))
        page.set_input_files(
            "#files", [{"name": "notes.md", "mimeType": "text/markdown", "buffer": b"some notes " * 400}]
        )
        tab.type("Sum up these notes in three sentences.")

    def failed() -> None:
        site.engine.become(
            "failed", 0.4, "The model needs 9.1 GB of memory, and 3.2 GB are free: close other programs."
        )
        page.goto(site.url)
        page.locator("#load-remedy:visible").wait_for()

    yield from {
        "loading": loading, "empty": empty, "chat": chat, "top": top, "side": side, "settings": opened("#settings"),
        "about": opened("#about"), "prompts": opened("#prompts"), "shortcuts": opened("#shortcuts"),
        "attached": attached, "failed": failed,
    }.items()  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pictures(browser, folder, sys.argv[2] if len(sys.argv) > 2 else "")
        browser.close()


if __name__ == "__main__":
    main()
