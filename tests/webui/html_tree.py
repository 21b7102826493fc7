"""HTML as a list of tags and texts, for comparing what two programs make of one markdown text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

LEFT_OUT = {"span", "figure", "div"}
HIDDEN = {"figcaption"}
VOID = {"br", "hr"}


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0
        self.in_pre = False
        self.links: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self.hidden += 1
        if self.hidden or tag in LEFT_OUT:
            return
        self.in_pre = self.in_pre or tag == "pre"
        given = dict(attrs)
        if tag == "input":
            self.parts.append("[x]" if "checked" in given else "[ ]")
            return
        href = given.get("href") or given.get("src") or ""
        shown = href.startswith(("http:", "https:", "mailto:"))
        if tag == "img":  # the page shows pictures as links, by their words
            words = given.get("alt") or href
            self.parts.append(f"<a>{words}</a>" if shown else words)
            return
        if tag == "a":
            self.links.append(shown)
            if not shown:  # the page shows other links as their words
                return
        start = given.get("start")
        self.parts.append(f"<{tag}{f' start={start}' if start else ''}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self.hidden -= 1
            return
        if self.hidden or tag in LEFT_OUT | VOID | {"img"} or (tag == "a" and not self.links.pop()):
            return
        if tag == "pre":
            self.in_pre = False
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data.rstrip("\n") if self.in_pre else re.sub(r"[ \t\n]+", " ", data))


def tree(html: str, *, headings: int = 0) -> str:
    """The tags without attributes and the texts without needless spaces; headings are lowered by ``headings``."""
    maker = _Tree()
    maker.feed(re.sub(r"(?<=[>])\n", "", html) if "<pre" not in html else html)
    maker.close()
    text = "".join(maker.parts)
    text = re.sub(r" *(</?(?!(?:em|strong|code|a|del|img|sub|sup)\b)[a-z][^>]*>) *", r"\1", text)
    if headings:
        text = re.sub(r"(</?h)([1-6])>", lambda found: f"{found[1]}{min(int(found[2]) + headings, 6)}>", text)
    return text.strip()
