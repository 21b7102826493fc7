"""How far the reading of a model or its copying is: speed, the time that is left, and the line that shows them."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

SURE_AFTER = 32_000_000
"""Bytes after which a speed is worth telling, and remembering."""

_INTERVAL = 0.2
_REDRAW = 0.1
_DOUBTFUL = 1.5
"""An expectation that is wrong by this factor is corrected."""

Clock = Callable[[], float]
Say = Callable[[str], None]


class Progress:
    """Follows one reading of ``total`` bytes, of which ``missing`` come from the medium and the rest from memory.

    On a terminal one line that is written over; elsewhere a sentence once the speed is known, and one at the end of
    what took long. ``expected`` are the seconds that were announced, None for none.
    """

    def __init__(
        self, verb: str, total: int, *, missing: int | None = None, expected: float | None = None,
        say: Say, terminal: TextIO | None = None, clock: Clock = time.monotonic,
    ) -> None:  # fmt: skip
        """``verb`` is what is done, such as Reading; ``terminal`` the terminal to draw on, None for none."""
        self._verb, self._total = verb, total
        self._missing = total if missing is None else missing
        self._expected, self._say, self._terminal, self._clock = expected, say, terminal, clock
        self._begin = clock()
        self._told = self._drawn = False
        self._next_draw = 0.0
        self.message = f"{verb} the model"
        self.speed: float | None = None
        """Bytes a second, as soon as enough was read to know."""

    def __call__(self, done: int) -> None:
        """So many bytes are done."""
        elapsed = self._clock() - self._begin
        # What was in memory comes at no cost; where in the file it lies nobody knows, so it is spread evenly.
        read = done * self._missing // max(1, self._total)
        if read >= SURE_AFTER and elapsed > 0:
            self.speed = read / elapsed
        self.message = line(self._verb, done, self._total, elapsed)
        if self._terminal is not None:
            if elapsed < self._next_draw:
                return
            self._next_draw = elapsed + _REDRAW
            self._draw(f"\r\x1b[K{self.message}")
            self._drawn = True
        elif self.speed and not self._told:
            self._told = True
            self._tell(self.speed, read)

    def _tell(self, speed: float, read: int) -> None:
        whole, left = self._missing / speed, (self._missing - read) / speed
        near = self._expected is not None and 1 / _DOUBTFUL < whole / max(self._expected, 0.01) < _DOUBTFUL
        if left >= 2.0 and not near:
            first = f"the first {megabytes(read)} came at {rate(speed)}"
            self._say(f"{self._verb} the model takes about {duration(whole)}: {first}.")

    def end(self) -> None:
        """Leave the terminal as if nothing had been shown."""
        if self._drawn:
            self._draw("\r\x1b[K")

    def _draw(self, text: str) -> None:
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                self._terminal.write(text)
                self._terminal.flush()


def line(verb: str, done: int, total: int, elapsed: float) -> str:
    """One line, such as ``Reading the model: 312 of 1024 MB at 30 MB/s, 24 s left``."""
    shown = f"{verb} the model: {done / 1e6:.0f} of {megabytes(total)}"
    if elapsed <= 0 or done <= 0:
        return shown
    speed = done / elapsed
    return f"{shown} at {rate(speed)}, {duration((total - done) / speed)} left"


def follow(
    reading: Callable[[], tuple[int, int] | None], loading: Callable[[], bool], progress: Progress,
    *, interval: float = _INTERVAL,
) -> float | None:  # fmt: skip
    """Show the reading that an engine does until it is over; return its speed in bytes a second where it is known.

    ``reading`` gives (done, total), None while nothing is read; ``loading`` says whether the model still loads.
    """
    seen = False
    while loading():
        found = reading()
        if found is None and seen:
            break
        if found is not None:
            seen = True
            progress(found[0])
        time.sleep(interval)
    progress.end()
    return progress.speed


def follow_in_background(
    reading: Callable[[], tuple[int, int] | None], loading: Callable[[], bool], progress: Progress,
    remember: Callable[[float], None],
) -> threading.Thread:  # fmt: skip
    """The same on a thread that nothing waits for; ``remember`` is called with the speed at the end."""

    def work() -> None:
        speed = follow(reading, loading, progress)
        if speed:
            remember(speed)

    thread = threading.Thread(target=work, name="solofile-reading", daemon=True)
    thread.start()
    return thread


def terminal() -> TextIO | None:
    """Standard error where that is a terminal."""
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None


def duration(seconds: float) -> str:
    """A time for a person: 35 s, 4 min."""
    return f"{max(0.0, seconds):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def rate(speed: float) -> str:
    """A speed for a person."""
    return f"{speed / 1e6:.0f} MB/s" if speed >= 9.5e6 else f"{speed / 1e6:.1f} MB/s"


def megabytes(size: int) -> str:
    """A size for a person, whole megabytes so that numbers which count up keep their unit."""
    return f"{size / 1e6:.0f} MB"
