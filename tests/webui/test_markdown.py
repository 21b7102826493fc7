"""Markdown: against markdown-it, while it streams, and where it is hostile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from html_tree import tree
from markdown_it import MarkdownIt
from pages import Tab, Watch
from stand_in import Site, talk


@pytest.fixture(scope="module")
def shared(browser: Any) -> Iterator[tuple[Tab, Watch]]:
    """One tab for all of these: they look at what becomes of a text, not at what the page keeps."""
    site, watch = Site(), Watch()
    site.start()
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(8000)
    context.on("page", watch.add)
    tab = Tab(context.new_page(), site)
    tab.page.goto(site.url)
    tab.wait_ready()
    yield tab, watch
    context.close()
    site.stop()


@pytest.fixture
def tab(shared: tuple[Tab, Watch]) -> Iterator[Tab]:
    tab, watch = shared
    yield tab
    watch.check()


RENDER = """async (text) => {
    const { render } = await import("./markdown.js");
    const place = document.createElement("div");
    place.append(...render(text));
    return place.innerHTML;
}"""

STREAM = """async ([text, cuts]) => {
    const { LiveMarkdown } = await import("./live.js");
    const place = document.createElement("div");
    const live = new LiveMarkdown(place);
    for (const cut of cuts) live.show(text.slice(0, cut));
    live.finish(text);
    return place.innerHTML;
}"""

REFERENCE = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])

DOCUMENTS = {
    "emphasis": "*a* **b** ***c*** __d__ _e_ a_b_c 2 * 3 * 4 **x*y*z** *a**b**c* ~~gone~~ "
    "**bold\nover** lines\\* `co*de*`",
    "headings": "# One\n\n## Two ##\nText\n\nThree\n=====\n\nFour\n----\n#no heading\n####### none",
    "lists": "- a\n- b\n  - c\n    - d\n  - e\n- f\n\nText\n\n1. one\n2. two\n\n   more of two\n\n3. three\n\n"
    "* x\n* y\n+ z",
    "code in a list": "1. Install:\n\n   ```bash\n   pip install x\n   ```\n\n2. Run:\n   ```\n   x\n   ```\n3. Done",
    "code": "```python\ndef f():\n    return 1\n```\n\n~~~\n```\n~~~\n\n"
    "````md\n```\ninner\n```\n````\n\n    indented\n\n"
    "    more",
    "tables": "| a | b |\n|---|:-:|\n"
    "| 1 | **2** |\n| `x\\|y` | [l](http://a.b) |\n| short |\n\n"
    "after\n\na | b\n--|--\n1 | 2\nend",
    "quotes": "> one\n> two\nlazy\n\n> # head\n>\n> - list\n> - of two\n>\n> > deeper\n\nout",
    "links": '[a](http://x.y "t") [b][1] [c] <https://ex.org> ![pic](http://p.q/i.png) [nested [x]](http://z)\n\n'
    "[1]: http://one\n[c]: <http://two>",
    "rules": "a\n\n---\n\nb\n***\nc\n\n- - -",
    "html": "<b>no</b> text <script>alert(1)</script>\n\n<div onclick='x'>\nhi\n</div>\n\n"
    "a < b && c > d &amp; &lt; &copy; &#65;",
    "breaks": "one\ntwo  \nthree\\\nfour\n\nfive",
    "unfinished": "**never closed\n\n`nor this\n\n[nor](this\n\n| nor | that |\n\n```js\nlet open = 1;",
    "windows": "# A\r\n\r\n- b\r\n- c\r\n\r\n```\r\nd\r\n```\r\n",
    "chinese": "**重点**和*强调*。\n\n1. 第一\n2. 第二",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_agrees_with_markdown_it(tab: Tab, name: str) -> None:
    text = DOCUMENTS[name]
    expected = REFERENCE.render(text).replace("<s>", "<del>").replace("</s>", "</del>")
    if name == "html":  # a few harmless tags are taken as what they are
        expected = expected.replace("&lt;b&gt;no&lt;/b&gt;", "<b>no</b>")
    assert tree(tab.page.evaluate(RENDER, text)) == tree(expected, headings=2)


def test_streamed_it_is_the_same(tab: Tab) -> None:
    chance = random.Random(7)
    everything = "\n\n".join(DOCUMENTS.values())
    for text in [*DOCUMENTS.values(), everything]:
        for step in (1, 7, 40):
            cuts = (
                list(range(0, len(text), step))
                if step * 400 > len(text)
                else sorted(chance.sample(range(len(text)), 60))
            )
            assert tree(tab.page.evaluate(STREAM, [text, cuts])) == tree(tab.page.evaluate(RENDER, text)), (step, text)


def test_tasks(tab: Tab) -> None:
    html = tab.page.evaluate(RENDER, "- [ ] open\n- [x] done\n- plain")
    assert tree(html) == "<ul><li>[ ]open</li><li>[x]done</li><li>plain</li></ul>"


def test_addresses_become_links(tab: Tab) -> None:
    html = tab.page.evaluate(RENDER, "See https://a.org/x_(y), or (https://b.org/?q=1). xhttp://no http://")
    assert 'href="https://a.org/x_(y)"' in html
    assert 'href="https://b.org/?q=1"' in html
    assert html.count("<a ") == 2
    assert 'rel="noopener noreferrer"' in html and 'target="_blank"' in html


HOSTILE = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "[click](javascript:window.pwned=1) [data](data:text/html,<script>1</script>) [vb](vbscript:x) <javascript:x>",
    "![pic](http://127.0.0.1:1/leak.png) ![x](javascript:alert(1))",
    "<sub onclick='window.pwned=1'>x</sub> <iframe src='https://example.org'></iframe> <svg onload='window.pwned=1'>",
    "[a](<java\tscript:x>) [b](JAVASCRIPT:x) [c](&#106;avascript:x)",
    "<style>body{display:none}</style><link rel=stylesheet href=//evil.example><base href=//evil.example>",
    "```html\n<script>window.pwned = 1</script>\n```",
    "$\\href{javascript:window.pwned=1}{x}$ $\\text{<img src=x onerror=alert(1)>}$",
    "| <img src=x onerror='window.pwned=1'> |\n|---|\n| <script>window.pwned=1</script> |",
    "<details open ontoggle='window.pwned=1'><summary>x</summary></details>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(tab: Tab, text: str) -> None:
    tab.site.answer(talk([text[index : index + 5] for index in range(0, len(text), 5)]))
    tab.send("Attack")
    tab.last(".body a, .body span").evaluate_all("(all) => all.forEach((one) => one.click && !one.href && one.click())")
    names = tab.last(".body").evaluate("(body) => [...body.querySelectorAll('*')].map((one) => one.localName)")
    assert not set(names) & {"script", "img", "iframe", "svg", "style", "link", "base", "object", "embed", "form"}
    attributes = tab.last(".body").evaluate(
        "(body) => [...body.querySelectorAll('*')]"
        ".flatMap((one) => [...one.attributes].map((a) => `${a.name}=${a.value}`))"
    )
    assert not [
        one for one in attributes if one.startswith("on") or ("javascript:" in one.lower() and one.startswith("href"))
    ]
    assert tab.page.evaluate("window.pwned") is None


def test_text_that_is_made_to_be_slow(tab: Tab) -> None:
    """Twisted texts take no more than a moment: no parser of ours goes back and forth without end."""
    for text in (
        "*" * 20_000, "[" * 20_000, "`" * 9_999 + "x", "> " * 5_000 + "x", "- " * 5_000 + "x", "_a " * 10_000,
        "![" * 10_000,
        "**a *b " * 5_000, "<" * 20_000, "|" * 5_000 + "\n" + "|-" * 5_000, "$" * 20_000, "&" * 20_000, "a\\" * 20_000,
        "` " * 10_000, "[a](" * 5_000, "<sub>" * 5_000, "1. " * 3_000, "$\\frac{" * 2_000, "~~a " * 10_000,
    ):  # fmt: skip
        spent = tab.page.evaluate(
            "async (text) => { const begin = performance.now(); const { render } = await import('./markdown.js');"
            " render(text); return performance.now() - begin; }",
            text,
        )
        assert spent < 1500, (text[:20], spent)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"$\frac{a}{b}$", "<mfrac><mi>a</mi><mi>b</mi></mfrac>"),
        (r"\(x_i^2\)", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"),
        (r"$$\sum_{i=1}^n i$$", "<munderover>"),
        (r"\[\sqrt[3]{\alpha}\]", "<mroot><mi>α</mi><mn>3</mn></mroot>"),
        (r"$\mathbb{R} \to \mathcal{L}$", "<mi>ℝ</mi><mo>→</mo>".replace("<mi>", '<mi mathvariant="normal">')),
        (r"$$\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}$$", "<mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>"),
        (r"$$f(x) = \begin{cases} 1 & \text{if } x > 0 \\ 0 & \text{else}\end{cases}$$", "<mtext>if\xa0</mtext>"),
        (r"$\left( \frac12 \right)$", '<mo fence="true" stretchy="true">(</mo>'),
        (r"$\vec{v} \cdot \hat{n} \leq 1$", "<mo>⋅</mo>"),
        (r"$\int_0^\infty e^{-x}\,dx$", "<mo>∫</mo>"),
        (r"$\unknowncommand{x}$", '<code class="tex" dir="ltr">\\unknowncommand{x}</code>'),
        (r"$\frac{a}$", '<code class="tex" dir="ltr">\\frac{a}</code>'),
        (r"It costs $5 and $6, or US$7.", "<p"),
    ],
)
def test_formulas(tab: Tab, source: str, expected: str) -> None:
    html = tab.page.evaluate(RENDER, source).replace(' dir="auto"', "").replace("&nbsp;", "\xa0")
    assert expected in html
    assert ("<math" in html) == ('class="tex"' not in expected and "costs" not in source)


def test_code_is_coloured(tab: Tab) -> None:
    samples = {
        "python": "def f(): return 'x'", "js": "const a = 1;", "c++": "int main() { return 0; }",
        "sh": "if true; then echo; fi",
        "rust": "fn main() { let x = 1; }", "go": "func main() { return }", "json": '{"a": 1}',
        "sql": "SELECT 1 FROM t",
        "html": '<p class="x">y</p>', "yaml": "a: 1", "css": "a { color: red }", "typescript": "let a: number = 1",
    }  # fmt: skip
    tab.site.answer(talk(["\n\n".join(f"```{name}\n{code}\n```" for name, code in samples.items())]))
    tab.send("All languages")
    for index, code in enumerate(samples.values()):
        block = tab.page.locator(".message.assistant").last.locator(".code code").nth(index)
        block.locator("span[class^=c-]").first.wait_for()
        assert block.text_content() == code
