"""Lines of an answer break between words, as a terminal shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from solofile.runtime.chat_wrap import Wrapper

ESCAPE = re.compile(r"\x1b\[(\d*)([DKm])")


def wide(character: str) -> int:
    return 2 if "\u4e00" <= character <= "\u9fff" else 1


def screen(pieces: Iterable[str], columns: int) -> list[str]:
    """The lines of a terminal of so many columns that is sent what comes of ``pieces``."""
    wrapper = Wrapper(lambda: columns, wide)
    lines: list[list[str]] = [[]]
    text = "".join(wrapper.feed(piece) for piece in pieces)
    at = 0
    while at < len(text):
        if (escape := ESCAPE.match(text, at)) is not None:
            if escape[2] == "D":
                for _ in range(int(escape[1])):
                    lines[-1].pop()
            at = escape.end()
            continue
        if text[at] == "\n":
            lines.append([])
        else:
            lines[-1] += [text[at], ""][: wide(text[at])]
            assert len(lines[-1]) < columns, "the last column is used"
        at += 1
    return ["".join(line) for line in lines]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_words_stay_whole(size: int) -> None:
    text = "The harbour lay still under\na thin layer of fog"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert screen(pieces, 15) == ["The harbour ", "lay still ", "under", "a thin layer ", "of fog"]


def test_a_word_longer_than_a_line_is_cut() -> None:
    assert screen(["see https://example.org/a now"], 12) == ["see ", "https://exa", "mple.org/a ", "now"]


def test_signs_of_two_columns() -> None:
    assert screen(["你好世界你好世界"], 10) == ["你好世界", "你好世界"]


def test_colours_move_with_their_word() -> None:
    wrapper = Wrapper(lambda: 10, wide)
    assert wrapper.feed("a line \x1b[36mco") == "a line \x1b[36mco"
    assert wrapper.feed("de\x1b[0m!") == "\x1b[2D\x1b[K\n\x1b[36mcode\x1b[0m!"


def test_a_terminal_of_one_column_and_tabs() -> None:
    assert screen(["ab"], 2) == ["a", "b"]
    assert Wrapper(lambda: 12, wide).feed("\tabc d") == "\tabc \nd"  # a tab goes to column 8
