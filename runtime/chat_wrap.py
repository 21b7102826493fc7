"""Breaks the lines of an answer between words, while it comes, for a terminal.

Each piece is printed at once, so the end of a word is not known when it begins: a word that turns out not to fit is
taken back from the end of the line and goes on at the beginning of the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PARTS = re.compile(r"\x1b\[[\d;]*m|[^\x1b]|\x1b")
_TAB = 8


class Wrapper:
    """Wraps one answer, given in pieces of any size, with colours in them."""

    def __init__(self, columns: Callable[[], int], cells: Callable[[str], int]) -> None:
        """``columns``: of the terminal now; ``cells``: that a character takes, 0 to 2."""
        self._columns = columns
        self._cells = cells
        self._column = 0
        self._word = ""
        """The word under way with its colours, and the cells that it takes."""
        self._wide = 0

    def feed(self, text: str) -> str:
        """What to print for ``text``."""
        # The last column stays free: behind a character there, terminals disagree on where the cursor is.
        room = max(1, self._columns() - 1)
        return "".join(self._put(part, room) for part in _PARTS.findall(text))

    def _put(self, part: str, room: int) -> str:
        if part.startswith("\x1b"):
            self._word += part
            return part
        if part in " \t\n":
            self._column = 0 if part == "\n" else self._column + (1 if part == " " else _TAB - self._column % _TAB)
            self._word, self._wide = "", 0
            return part
        cells = self._cells(part)
        turn = self._turn() if self._column + cells > room else ""
        self._word += part
        self._wide += cells
        self._column += cells
        return turn + part

    def _turn(self) -> str:
        """Begin a line, with the word if it did not begin the one before."""
        if 0 < self._wide < self._column:
            self._column = self._wide
            return f"\x1b[{self._wide}D\x1b[K\n{self._word}"
        self._column, self._word, self._wide = 0, "", 0
        return "\n"
