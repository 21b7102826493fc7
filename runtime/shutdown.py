"""Signals that end a bundle, as exceptions of the main thread.

Ctrl-C is Python's KeyboardInterrupt. SIGTERM and SIGHUP are a kind of it that no prompt or answer swallows.
"""

from __future__ import annotations

import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what Ctrl-C ended, as shells count."""

BROKEN_PIPE = 128 + 13
"""Exit code when nobody reads the output any more: SIGPIPE's, which Windows does not name."""


class Terminated(KeyboardInterrupt):
    """Another program asked this one to end."""

    def __init__(self, number: int) -> None:
        """``number`` of the signal."""
        super().__init__()
        self.exit_code = 128 + number


def install() -> None:
    """Turn SIGTERM and SIGHUP into Terminated; one that is ignored from outside (nohup) stays ignored.

    SIGBREAK is Windows' word for a window that was closed.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(number: int, _: FrameType | None) -> None:
    raise Terminated(number)
