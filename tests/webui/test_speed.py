"""How much a long answer costs while it comes."""

from __future__ import annotations

from pages import Tab
from screenshots import ANSWER
from stand_in import talk

FRAME_MS = 5.0
TOKENS = 4000

CODE = '''
```python
class Node{number}:
    """A node of a tree, with the number {number}."""

    def __init__(self, value: int, children: list["Node{number}"] | None = None) -> None:
        self.value = value  # what it holds
        self.children = children or []

    def total(self) -> int:
        return self.value + sum(child.total() for child in self.children)
```
'''


def an_answer() -> list[str]:
    """Some 4,000 pieces of about four characters, as tokens are: text, lists, tables and much code."""
    text = ""
    number = 0
    while len(text) < TOKENS * 4:
        text += ANSWER + CODE.replace("{number}", str(number)) + "\n"
        number += 1
    return [text[at : at + 4] for at in range(0, TOKENS * 4, 4)]


def test_a_long_answer_stays_smooth(tab: Tab) -> None:
    pieces = an_answer()
    tab.site.answer(talk(pieces, delay=0.001))
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable")
    tab.page.evaluate("window.frames0 = 0; (function count() { window.frames0++; requestAnimationFrame(count); })()")

    def figures() -> dict[str, float]:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in metrics} | {"frames": tab.page.evaluate("window.frames0")}

    before = figures()
    tab.send("A long one", wait=False)
    tab.page.context.set_default_timeout(60_000)
    tab.wait_answer()
    after = figures()
    frames = after["frames"] - before["frames"]
    script = 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / frames
    layout = (
        1000
        * (
            after["LayoutDuration"]
            + after["RecalcStyleDuration"]
            - before["LayoutDuration"]
            - before["RecalcStyleDuration"]
        )
        / frames
    )
    print(f"{len(pieces)} tokens in {frames} frames: {script:.2f} ms of script and {layout:.2f} ms of layout a frame")
    assert frames > 200
    assert script <= FRAME_MS, script
    assert tab.last(".body").locator(".code").count() > 20


def test_one_endless_block_of_code(tab: Tab) -> None:
    """The worst case of drawing only the last block: there is but one."""
    pieces = ["```python\n", *["x = 1  # " + "y" * 7 + "\n"] * 2500]
    tab.site.answer(talk(pieces, delay=0.001))
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable")
    tab.page.evaluate("window.frames0 = 0; (function count() { window.frames0++; requestAnimationFrame(count); })()")
    before = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    tab.send("Code", wait=False)
    tab.page.context.set_default_timeout(60_000)
    tab.wait_answer()
    after = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    script = 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / tab.page.evaluate("window.frames0")
    print(f"{script:.2f} ms of script a frame")
    assert script <= FRAME_MS, script
    assert tab.last(".code code").text_content().count("\n") == 2499
