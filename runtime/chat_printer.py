"""Prints an answer of --chat while it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from solofile.runtime.conversation import Piece

if TYPE_CHECKING:
    from solofile.runtime.chat_markdown import Painter
    from solofile.runtime.chat_wrap import Wrapper

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Printer:
    """Prints the pieces of one answer and collects it, the reasoning apart and, in colour, dimmed."""

    def __init__(
        self, out: TextIO, *, color: bool, painter: Painter | None = None, wrapper: Wrapper | None = None
    ) -> None:
        """Print to ``out``; a ``painter`` and a ``wrapper`` make what is printed fit for a terminal."""
        self.answer = ""
        self._out = out
        self._color = color
        self._painter = painter
        self._wrapper = wrapper
        self._thinking = False
        self._last = ""

    def write(self, piece: Piece) -> None:
        """Print one piece at once."""
        if piece.thought != self._thinking:
            self._turn(piece.thought)
        if not piece.thought:
            self.answer += piece.text
        if self._painter is None:
            self._put(piece.text)
        elif text := self._painter.plain(piece.text) if piece.thought else self._painter.feed(piece.text):
            self._put(text)

    def end(self) -> None:
        """Close the answer with a newline."""
        if self._painter is not None and (rest := self._painter.end()):
            self._put(rest)
        if self._thinking:
            self._turn(False)
        if not self._last.endswith("\n"):
            self._put("\n")

    def _turn(self, thinking: bool) -> None:
        self._thinking = thinking
        if not thinking and not self._last.endswith("\n"):
            self._put("\n")
        if self._color:
            self._put(_DIM if thinking else _PLAIN)

    def _put(self, text: str) -> None:
        self._out.write(text if self._wrapper is None else self._wrapper.feed(text))
        self._out.flush()
        # An escape sequence at the end is no sign.
        self._last = text.removesuffix(_PLAIN).removesuffix(_DIM) or self._last
