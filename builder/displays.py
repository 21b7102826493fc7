"""The ways to show progress: a line on a terminal, lines in a log, JSON events, or nothing but what has to be said.

An event is one JSON object on a line of standard output:

    event         of a step "start", "progress" and "end", or "stop" where it failed or was interrupted; "message"; and
                  once, as the last one, "result" or "error"
    step          what is done, as “Writing model.exe”
    done, total   running total and whole, in ``unit``; ``total`` is null where nobody knows it
    unit          "B" for bytes, "s" for the seconds that a step has run, or a word such as "steps"
    rate          units a second since the step began, null where it says nothing
    eta_seconds   seconds left at that rate, null where nobody knows
    message       the same for a person

A message has ``event``, ``step`` and ``message``; a result ``event``, ``exit_code``, ``message`` and what the command
adds (``output`` and ``size`` of a file that it has written); an error ``event``, ``exit_code`` and ``message``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

TERMINAL_INTERVAL = 0.1
LOG_INTERVAL = 5.0
EVENT_INTERVAL = 0.25


class State(NamedTuple):
    """How far an operation is after ``elapsed`` seconds; None as the total where nobody knows it."""

    label: str
    done: int
    total: int | None
    unit: str
    elapsed: float


class Display:
    """Shows one operation to a person who wants no progress: notes alone."""

    interval = float("inf")
    patient = True
    """Is a short operation not worth a line?"""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = sys.stderr if stream is None else stream

    def begin(self, state: State) -> None:
        """The operation begins."""

    def update(self, state: State) -> None:
        """It goes on; called no oftener than every ``interval`` seconds."""

    def note(self, label: str, text: str) -> None:  # noqa: ARG002 - others say of what it is
        """Say ``text``."""
        self._write(text + "\n")

    def close(self, state: State) -> None:
        """It has ended well."""

    def abandon(self, state: State) -> None:
        """It has ended otherwise."""
        self.close(state)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Silence(Display):
    """Nothing at all."""

    def note(self, label: str, text: str) -> None:
        """Nothing."""


class Plain(Display):
    """A fresh line every few seconds."""

    interval = LOG_INTERVAL

    def update(self, state: State) -> None:
        """A line."""
        self._write(describe(*state) + "\n")

    def close(self, state: State) -> None:
        """The final figures, of what took long enough."""
        if state.elapsed >= LOG_INTERVAL:
            self.update(state)


class Bar(Display):
    """One line of a terminal, rewritten in place."""

    interval = TERMINAL_INTERVAL
    patient = False

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._dirty = False

    def update(self, state: State) -> None:
        """The line anew."""
        columns = shutil.get_terminal_size().columns
        self._write(f"\r{describe(*state)[: columns - 1]}\x1b[K")
        self._dirty = True

    def note(self, label: str, text: str) -> None:
        """The text in place of the line, which comes again below it."""
        if self._dirty:
            self._stream.write("\r\x1b[K")
            self._dirty = False
        super().note(label, text)

    def close(self, state: State) -> None:
        """The final figures, where there was a line."""
        if self._dirty:
            self.update(state)
            self._write("\n")
            self._dirty = False


class Events(Display):
    """JSON, one object a line, on standard output."""

    interval = EVENT_INTERVAL
    patient = True

    def __init__(self, stream: TextIO | None) -> None:  # noqa: ARG002 - that is where persons read
        super().__init__(None)
        self._begun = False

    def begin(self, state: State) -> None:
        """A start."""
        self._begun = True
        emit("start", **_figures(state))

    def update(self, state: State) -> None:
        """How far it is."""
        emit("progress", **_figures(state))

    def note(self, label: str, text: str) -> None:
        """A message."""
        emit("message", step=label, message=text)

    def close(self, state: State) -> None:
        """The end, of what has begun."""
        if self._begun:
            emit("end", **_figures(state))

    def abandon(self, state: State) -> None:
        """It stops here."""
        emit("stop", **_figures(state))


def fitting(stream: TextIO | None) -> Display:
    """The display for where it is read: a terminal or something else."""
    return Bar(stream) if (sys.stderr if stream is None else stream).isatty() else Plain(stream)


_out: list[TextIO] = []
"""Where events go, standard output where nothing else is said."""


@contextlib.contextmanager
def speaking_to(stream: TextIO) -> Iterator[None]:
    """Write the events of the block to ``stream``: standard output may be held back meanwhile."""
    _out.append(stream)
    try:
        yield
    finally:
        _out.pop()


def emit(event: str, **fields: Any) -> None:
    """Write one event."""
    stream = _out[-1] if _out else sys.stdout
    stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
    stream.flush()


def _figures(state: State) -> dict[str, Any]:
    rate = state.done / state.elapsed if state.elapsed >= 0.05 and state.done and state.unit != "s" else None
    left = None if rate is None or state.total is None else max(0, state.total - state.done) / rate
    return {
        "step": state.label,
        "done": state.done,
        "total": state.total,
        "unit": state.unit,
        "rate": None if rate is None else round(rate, 3),
        "eta_seconds": None if left is None else round(left, 3),
        "message": describe(*state),
    }


def describe(label: str, done: int, total: int | None, unit: str, elapsed: float) -> str:
    """The progress line, for example ``model: 41 % of 2.1 GB, 812 MB/s, 2 s left``."""
    if total is not None and done >= total:
        rate = f", {_amount(done / elapsed, unit)}/s" if elapsed >= 0.05 and unit == "B" else ""
        return f"{label}: {_amount(total, unit)} in {duration(elapsed)}{rate}"
    head = f"{label}: {100 * done // total} % of {_amount(total, unit)}" if total else f"{label}: {_amount(done, unit)}"
    if done <= 0 or elapsed < 0.05:
        return head
    rate = f", {_amount(done / elapsed, unit)}/s" if unit == "B" else ""
    left = f", {duration(elapsed * (total - done) / done)} left" if total else ""
    return head + rate + left


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def byte_size(count: float) -> str:
    """Bytes with a decimal unit: ``512 B``, ``98.4 MB``, ``2.1 GB``."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def _amount(count: float, unit: str) -> str:
    return byte_size(count) if unit == "B" else f"{count:.0f} {unit}"
