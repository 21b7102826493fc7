"""What a confined process has done outside: a fixed number of errands, by a process that was there before the sandbox.

It cannot start programs itself. The other process (errand_runner.py) knows what it may be asked for and with what: to
read a PDF in a child, to measure in a child, to show this page, to tidy up the cache, to remove its Unix socket, to
write its access log, to send traces to the collector that the user named.

An errand is a message with its name, and a pair of pipes that goes with it through a socket. Down the first goes a line
of JSON and behind it data; the answer comes up the second, as JSON. Who closes that gives the errand up.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

PDF, PROBE, SHOW, PRUNE, UNLINK, LOG, TRACE = "pdf", "probe", "show", "prune", "unlink", "log", "trace"

LINE_LIMIT = 1 << 16
_STEP = 0.02
_CHUNK = 1 << 16

_running: Errands | None = None


class Errands:
    """The way to the process outside; any thread may ask."""

    def __init__(self, way: socket.socket) -> None:
        """``way`` leads to `errand_runner.serve`."""
        self._way = way
        self._lock = threading.Lock()

    def run(
        self, name: str, fields: Mapping[str, Any], data: bytes = b"", *, cancelled: Callable[[], bool] = lambda: False
    ) -> dict[str, Any] | None:
        """The answer to an errand; None where it was given up. OSError where nobody is there any more to run it."""
        with self._handed_over(name) as (sending, receiving):
            sender = threading.Thread(target=send, args=(sending, fields, data), daemon=True)
            sender.start()
            answer = _receive(receiving, cancelled)
        if answer is None:
            return None
        if not answer:
            raise ConnectionError("the process outside the sandbox has ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    def start(self, name: str, fields: Mapping[str, Any]) -> None:
        """Ask for something whose end nobody waits for, as far as it can be asked."""
        with suppress(OSError), self._handed_over(name) as (sending, _):
            send(sending, fields, b"")

    def close(self) -> None:
        """Ask for nothing more."""
        self._way.close()

    @contextmanager
    def _handed_over(self, name: str) -> Iterator[tuple[int, int]]:
        """Our ends of two pipes whose others were handed over; ``sending`` is closed by whoever sends."""
        sending, receiving = self.hand_over(name)
        try:
            yield sending, receiving
        finally:
            os.close(receiving)

    def hand_over(self, name: str) -> tuple[int, int]:
        """The ends to send through and to receive from; the caller closes both."""
        theirs_in, sending = os.pipe()
        receiving, theirs_out = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._way, [name.encode()], [theirs_in, theirs_out])
        except OSError:
            os.close(sending)
            os.close(receiving)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return sending, receiving


def running() -> Errands | None:
    """Who runs errands for this process; None where it does everything itself."""
    return _running


def use(errands: Errands | None) -> None:
    """From now on this process asks ``errands``."""
    global _running
    _running = errands


def send(sending: int, fields: Mapping[str, Any], data: bytes) -> None:
    """Send a line of JSON and data, and close."""
    head = json.dumps(fields).encode() + b"\n"
    with closing(os.fdopen(sending, "wb", buffering=0)) as pipe, suppress(OSError):  # it may have ended meanwhile
        for part in (head, data):
            view = memoryview(part)
            while view:
                view = view[pipe.write(view) or 0 :]


def _receive(receiving: int, cancelled: Callable[[], bool]) -> bytes | None:
    """All that comes; None where it was given up before that."""
    import select

    poll, answer = select.poll(), b""
    poll.register(receiving, select.POLLIN)
    while True:
        if cancelled():
            return None
        if not poll.poll(_STEP * 1000):
            continue
        chunk = os.read(receiving, _CHUNK)
        if not chunk:
            return answer
        answer += chunk
