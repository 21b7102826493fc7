"""How far a long operation is: what, how much, how fast, how long.

Every operation makes a ``Progress`` and tells it the running total; how that is shown is decided in one place, once for
the whole program (``show_as``): a line on a terminal that is rewritten in place, plain lines every few seconds else,
so that a build in CI is never silent, or JSON for other programs (displays.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

from solofile.builder import displays
from solofile.builder.displays import Display, State, byte_size, describe, duration
from solofile.runtime.errors import UnknownName

__all__ = ["FORMS", "Progress", "SilentProgress", "byte_size", "describe", "duration", "show_as", "ticking"]

FORMS = ("auto", "bar", "plain", "json", "none")
"""What ``show_as`` takes. ``auto`` is ``bar`` on a terminal and ``plain`` elsewhere."""

_MAKERS: dict[str, Callable[[TextIO | None], Display]] = {
    "auto": displays.fitting,
    "bar": displays.Bar,
    "plain": displays.Plain,
    "json": displays.Events,
    "none": displays.Display,
}
TICK = 1.0
"""Seconds between two signs of life of what cannot be measured."""

_chosen = [_MAKERS["auto"]]


def checked_form(form: str) -> str:
    """``form``, if there is such a one. Raises UnknownName with the nearest."""
    if form not in FORMS:
        raise UnknownName("form of progress", form, FORMS)
    return form


@contextlib.contextmanager
def show_as(form: str) -> Iterator[None]:
    """Show what is begun within the block in this form. Raises UnknownName."""
    _chosen.append(_MAKERS[checked_form(form)])
    try:
        yield
    finally:
        _chosen.pop()


class Progress:
    """Shows one operation.

    ``total`` is in ``unit`` ("B" for bytes, shown as KB, MB, GB; any other word is shown as it is), None where nobody
    knows it. ``stream`` is where a person reads it, standard error by default.
    """

    def __init__(self, label: str, total: int | None, unit: str = "B", *, stream: TextIO | None = None) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self._display = _chosen[-1](stream)
        self._start = time.monotonic()
        self._shown = self._start if self._display.patient else float("-inf")
        self._closed = False

    def update(self, done: int) -> None:
        """Say that ``done`` of ``total`` is behind us (a running total, not a step)."""
        self.done = done
        now = time.monotonic()
        if now - self._shown >= self._display.interval:
            self._shown = now
            self._display.update(self._state(now))

    def note(self, text: str) -> None:
        """Say ``text`` on a line of its own, above the progress line."""
        self._display.note(self.label, text)
        if not self._display.patient:
            self._shown = float("-inf")

    def close(self) -> None:
        """End the line with the final figures. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._display.close(self._state(time.monotonic()))

    def _state(self, now: float) -> State:
        return State(self.label, self.done, self.total, self.unit, now - self._start)

    def __enter__(self) -> Progress:
        self._display.begin(self._state(self._start))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._closed:
            self._closed = True
            self._display.abandon(self._state(time.monotonic()))
        self.close()


class SilentProgress(Progress):
    """A progress that shows nothing: for tests and for callers that have their own line."""

    def __init__(self, label: str = "", total: int | None = None, unit: str = "B") -> None:
        super().__init__(label, total, unit)
        self._display = displays.Silence(None)


@contextlib.contextmanager
def ticking(label: str, progress: Callable[[str, int | None, str], Progress] = Progress) -> Iterator[Progress]:
    """The progress of what nobody can measure: the seconds that it has run."""
    with progress(label, None, "s") as shown:
        started, ended = time.monotonic(), threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                shown.update(int(time.monotonic() - started))

        thread = threading.Thread(target=tick, name="ticking", daemon=True)
        thread.start()
        try:
            yield shown
        finally:
            ended.set()
            thread.join()
            shown.done = int(time.monotonic() - started)
