"""Colours an answer in Markdown while it comes, for a terminal: every character stays, only its colour is added.

An answer may hold anything, so control characters, with which it could move the cursor, set the window's title or
write the clipboard, become a visible sign, in colour or not.
"""

from __future__ import annotations

import re

_BOLD, _CODE, _QUOTE, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
_HEADING, _LIST = "\x1b[1m", "\x1b[33m"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202d\u202e]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_START = re.compile(r" {0,3}(#{1,6} |> ?|[-*+] |\d{1,3}[.)] )")
_LONGEST_START = 8
"""So many characters tell what a line is; a line that begins is held back for no longer."""


class Painter:
    """Colours one answer, given in pieces of any size."""

    def __init__(self, *, color: bool) -> None:
        """Without ``color`` only control characters are dealt with."""
        self._color = color
        self._held = ""
        self._fence = ""
        self._at_start = True
        self._line = ""
        """The colour of the rest of the line."""
        self._bold = self._code = False

    @staticmethod
    def plain(text: str) -> str:
        """``text`` without control characters."""
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))

    def feed(self, text: str) -> str:
        """What to print now that ``text`` has come."""
        text = self.plain(text)
        if not self._color:
            return text
        self._held += text
        out = []
        while self._held and (part := self._next(final=False)) is not None:
            out.append(part)
        return "".join(out)

    def end(self) -> str:
        """What is left to print, and plain colours."""
        out = []
        while self._held and (part := self._next(final=True)) is not None:
            out.append(part)
        coloured = self._line or self._bold or self._code or self._fence
        self._line, self._bold, self._code, self._fence, self._at_start = "", False, False, "", True
        return "".join(out) + (_PLAIN if self._color and coloured else "")

    def _next(self, *, final: bool) -> str | None:
        """The next part of what is held, painted; None where more must come first."""
        if self._at_start:
            return self._begin_line(final=final)
        if self._fence or self._line:
            return self._rest_of_line()
        return self._inline(final=final)

    def _begin_line(self, *, final: bool) -> str | None:
        line, newline, _ = self._held.partition("\n")
        if not newline and len(line) < _LONGEST_START and not final and not _is_plain(line):
            return None
        if (found := _FENCE.match(line)) is not None and self._closes(found[1], line):
            if not newline and not final:
                return None  # the name of the language may still come
            self._fence = "" if self._fence else found[1]
            self._held = self._held[len(line) + len(newline) :]
            return _CODE + line + (newline if self._fence else _PLAIN + newline)
        self._at_start = False
        if self._fence:
            return ""
        start = _START.match(line)
        return "" if start is None else self._begin(start[0])

    def _closes(self, mark: str, line: str) -> bool:
        """Is the fence the first one, or one that ends the block?"""
        return not self._fence or (mark.startswith(self._fence) and not line.strip().strip(self._fence[0]))

    def _begin(self, start: str) -> str:
        self._held = self._held[len(start) :]
        mark = start.strip()
        if mark.startswith(("#", ">")):
            self._line = _HEADING if mark.startswith("#") else _QUOTE
            return self._line + start
        return _LIST + start + _PLAIN

    def _rest_of_line(self) -> str:
        line, newline, self._held = self._held.partition("\n")
        if not newline:
            return line
        self._at_start = True
        after = _PLAIN if self._line and not self._fence else ""
        self._line = ""
        return line + after + newline

    def _inline(self, *, final: bool) -> str | None:
        """Text up to the next mark: ` or ** or the end of the line, where both end as well."""
        found = re.search(r"[`\n]|\*\*?", self._held)
        if found is None:
            out, self._held = self._held, ""
            return out
        if found[0] == "*" and found.end() == len(self._held) and not final:
            if found.start() == 0:
                return None
            out, self._held = self._held[: found.start()], self._held[found.start() :]
            return out
        before, self._held = self._held[: found.start()], self._held[found.end() :]
        return before + self._mark(found[0])

    def _mark(self, mark: str) -> str:
        if mark == "\n":
            coloured = self._bold or self._code
            self._bold = self._code = False
            self._at_start = True
            return (_PLAIN if coloured else "") + mark
        if mark == "`" and not self._bold:
            self._code = not self._code
            return _CODE + mark if self._code else mark + _PLAIN
        if mark == "**" and not self._code:
            self._bold = not self._bold
            return _BOLD + mark if self._bold else mark + _PLAIN
        return mark


def _is_plain(line: str) -> bool:
    """Can this beginning of a line be nothing but text?"""
    stripped = line.lstrip(" ")
    return bool(stripped) and (stripped[0] not in "#>-*+`~" and not stripped[0].isdigit())
