"""Colours of an answer: nothing but colour is added, however it is cut, and nothing dangerous gets through."""

from __future__ import annotations

import re

import pytest
from solofile.runtime.chat_markdown import Painter

TEXT = """\
# A title
Some **bold** and `code`, 2 * 3 * 4 and *one*.

- a point with `**not bold**`
12. twelve
> a quote
```python
x = "**no**"  # no heading
- no point
`````
```
after **unclosed
next line `open
####### seven
-no point
"""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def painted(text: str, size: int, *, color: bool = True) -> str:
    painter = Painter(color=color)
    return "".join(painter.feed(text[at : at + size]) for at in range(0, len(text), size)) + painter.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_only_colour_is_added(size: int) -> None:
    assert ESCAPES.sub("", painted(TEXT, size)) == TEXT
    assert painted(TEXT, size, color=False) == TEXT


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_cut_does_not_matter(size: int) -> None:
    def state(text: str) -> list[tuple[str, str]]:
        """Each character with the colour that it has."""
        found, color = [], ""
        for part in re.split(r"(\x1b\[[0-9;]*m)", text):
            if part.startswith("\x1b"):
                color = "" if part == "\x1b[0m" else part
            else:
                found += [(letter, color) for letter in part]
        return found

    assert state(painted(TEXT, size)) == state(painted(TEXT, 10_000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# T\nx", "\x1b[1m# T\x1b[0m\nx"),
        ("a `b` c", "a \x1b[36m`b`\x1b[0m c"),
        ("a **b** c", "a \x1b[1m**b**\x1b[0m c"),
        ("- b", "\x1b[33m- \x1b[0mb"),
        ("```\nx\n```\ny", "\x1b[36m```\nx\n\x1b[36m```\x1b[0m\ny"),
        ("**a\nb", "\x1b[1m**a\x1b[0m\nb"),
        ("```\nx", "\x1b[36m```\nx\x1b[0m"),
        ("2 * 3", "2 * 3"),
        ("", ""),
    ],
)
def test_what_is_coloured(text: str, expected: str) -> None:
    assert painted(text, 1000) == expected


def test_text_is_held_back_for_a_few_characters_at_most() -> None:
    painter = Painter(color=True)
    assert painter.feed("Hello") == "Hello"
    assert painter.feed(" **") == " \x1b[1m**"
    painter = Painter(color=True)
    shown = ""
    for letter in "12345678901":
        shown += painter.feed(letter)
    assert shown == "12345678901"


@pytest.mark.parametrize("color", [True, False])
def test_control_characters_become_a_sign(color: bool) -> None:
    evil = "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x9b31md\re\x08f\x00g\u202eh"
    shown = painted(evil, 1, color=color)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", ESCAPES.sub("", shown))
    assert shown.count("\N{REPLACEMENT CHARACTER}") == 8
    assert painted("tab\tand\r\nline", 1000, color=False) == "tab\tand\nline"


def test_long_answers_are_cheap() -> None:
    import time

    begin = time.process_time()
    painted(TEXT * 300, 4)
    assert time.process_time() - begin < 1.0
