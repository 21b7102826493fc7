"""Plain text in blocks and columns, for a screen of 100 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH, MOST = 100, 26
"""Characters of a line, and of a column but the last."""


def marked(sentence: str) -> list[str]:
    """A sentence that must not be overlooked."""
    return textwrap.wrap(sentence, WIDTH, initial_indent="! ", subsequent_indent="  ", break_long_words=False)


def joined(blocks: Iterable[Sequence[str]]) -> str:
    """Blocks with a blank line between them."""
    return "\n\n".join("\n".join(one) for one in blocks if one) + "\n"


def block(title: str, lines: Sequence[str]) -> list[str]:
    """Lines below a heading; nothing where there are none."""
    return [title, *(f"  {line}" for line in lines)] if lines else []


def columns(rows: Iterable[Sequence[str]], width: int = WIDTH - 2) -> list[str]:
    """Rows of two or three columns, aligned; the last one is wrapped, a name that repeats is written once.

    What is too long for its column has a line of its own.
    """
    table = [tuple(row) for row in rows]
    inner = [_widest(row[index] for row in table if len(row) > index + 1) for index in range(_most(table) - 1)]
    lines: list[str] = []
    last = ""
    for row in table:
        cells = ["" if row[0] == last else row[0], *row[1:]]
        last = row[0]
        if len(cells[-2]) > MOST:
            lines.append("".join(f"{cell:<{inner[index]}}  " for index, cell in enumerate(cells[:-1])).rstrip())
            cells[:-1] = [""] * len(inner)
        head = "".join(f"{cell:<{inner[index]}}  " for index, cell in enumerate(cells[:-1]))
        room = max(20, width - len(head))
        first, *rest = textwrap.wrap(cells[-1], room, break_on_hyphens=False, break_long_words=False) or [""]
        lines += [f"{head}{first}".rstrip(), *(" " * len(head) + line for line in rest)]
    return lines


def _widest(cells: Iterable[str]) -> int:
    return max((len(cell) for cell in cells if len(cell) <= MOST), default=0)


def _most(table: Sequence[Sequence[str]]) -> int:
    return max((len(row) for row in table), default=1)
