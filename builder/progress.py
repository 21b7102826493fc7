"""One line that says how far a long operation is: percent, rate and time left.

On a terminal the line is rewritten in place; elsewhere (a log, a pipe) a fresh line comes every few seconds, so that a
build in CI is never silent. Everything goes to standard error.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

TERMINAL_INTERVAL = 0.1
LOG_INTERVAL = 5.0
TICK = 1.0


class Progress:
    """Shows one operation.

    ``total`` is in ``unit`` ("B" for bytes, shown as KB, MB, GB; any other word is shown as it is), None where nobody
    knows it.
    """

    def __init__(self, label: str, total: int | None, unit: str = "B", *, stream: TextIO | None = None) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        self._start = time.monotonic()
        self._shown = self._start if not self._terminal else float("-inf")
        self._dirty = False
        self._closed = False

    def update(self, done: int) -> None:
        """Say that ``done`` of ``total`` is behind us (a running total, not a step)."""
        self.done = done
        now = time.monotonic()
        if now - self._shown >= self._interval:
            self._shown = now
            self._show(describe(self.label, done, self.total, self.unit, now - self._start))

    def note(self, text: str) -> None:
        """Write ``text`` on a line of its own, above the progress line."""
        if self._dirty:
            self._stream.write("\r\x1b[K")
            self._dirty = False
        self._stream.write(text + "\n")
        self._stream.flush()
        self._shown = float("-inf") if self._terminal else self._shown

    def close(self) -> None:
        """End the line with the final figures. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        elapsed = time.monotonic() - self._start
        if self._dirty or (not self._terminal and elapsed >= LOG_INTERVAL):
            self._show(describe(self.label, self.done, self.total, self.unit, elapsed))
        if self._dirty:
            self._stream.write("\n")
            self._stream.flush()
            self._dirty = False

    def _show(self, line: str) -> None:
        if self._terminal:
            columns = shutil.get_terminal_size().columns
            self._stream.write(f"\r{line[: columns - 1]}\x1b[K")
            self._dirty = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


class SilentProgress(Progress):
    """A progress that shows nothing: for tests and for callers that have their own line."""

    def __init__(self, label: str = "", total: int | None = None, unit: str = "B") -> None:
        super().__init__(label, total, unit)

    def update(self, done: int) -> None:
        self.done = done

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


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
