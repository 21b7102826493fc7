"""Signals that end the builder, as an exception of the main thread, so that whatever has begun removes what it made.

Ctrl-C, SIGTERM and SIGHUP come as ``Stopped``, once: further ones are not heard, so that an impatient second Ctrl-C
does not end the tidying. Who leaves something on purpose, as a download that can be gone on with, says so by ``kept``.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what Ctrl-C ended, as shells count."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """The user, or another program, asked this one to end."""

    def __init__(self, number: int) -> None:
        """``number`` of the signal."""
        super().__init__()
        self.exit_code = 128 + number


def hear() -> dict[int, Any]:
    """From now on signals raise Stopped, the first of them; one that is ignored from outside (nohup) stays ignored.

    The handlers that there were before, by signal.
    """
    before = {}
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, _raise)
    return before


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Hear signals within the block."""
    before = hear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _raise not in before.values():  # nobody hears them any more
            _stopped.clear()


_stopped: list[int] = []
"""The signal that has been raised."""


def _raise(number: int, _: FrameType | None) -> None:
    if not _stopped:
        _stopped.append(number)
        raise Stopped(number)


@contextlib.contextmanager
def kept(text: str) -> Iterator[None]:
    """If the block is interrupted, the user is told ``text``: what stays, and what comes of it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.args = (text,)
        raise


def sentence(stop: KeyboardInterrupt) -> str:
    """What the user is told in the end."""
    return f"stopped; {stop.args[0] if stop.args else 'nothing half done is left'}."


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code of the program that was stopped."""
    return stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
