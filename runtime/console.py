"""The terminal: UTF-8 whatever the locale says, and a standard output that nothing but the answer reaches."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO


def use_utf8() -> None:
    """Read and write UTF-8 also where the locale is plain C, as with an empty environment.

    A stream that was closed by whoever started us is opened to nowhere, so that printing is no error.
    """
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: PTH123


def words(argv: Sequence[str]) -> list[str]:
    """The words of the command line as UTF-8, which a locale of another encoding may have kept Python from reading."""
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in argv]


def claim_stdout() -> TextIO:
    """Return the standard output for us alone: what native code prints there goes to standard error from now on."""
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        ours = os.dup(1)
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
    except OSError:  # it was closed by whoever started us
        ours = os.open(os.devnull, os.O_WRONLY)
    return open(ours, "w", encoding="utf-8", errors="replace", newline="\n")  # noqa: PTH123 - open to the end


def say(sentence: str) -> None:
    """Tell the user something that is no answer."""
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


class Meter:
    """Shows on a terminal how far a long reading of ``total`` bytes is; elsewhere nothing."""

    def __init__(self, what: str, total: int) -> None:
        """``what`` is done, such as Verifying."""
        self._what, self._total = what, max(total, 1)
        self._shown = -1
        self._on = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """So many bytes are done."""
        percent = done * 100 // self._total
        if self._on and percent != self._shown:
            self._shown = percent
            print(f"\r{self._what}: {percent} %", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line as if nothing had been shown."""
        if self._on and self._shown >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
