"""Whether a worker still lives: a connection on which the main machine sends a byte now and then, and gets it back.

A worker that computes says nothing for as long as that takes, so its silence there means nothing. One that has stopped,
or hangs in its driver, keeps its connections all the same; here it is noticed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.rpc_channel import Channel

BEAT = 5.0
"""Seconds between two bytes."""
PATIENCE = 20.0
"""Seconds until one has to be back: a machine that is very busy answers late."""

_BYTE = b"\n"


def answer(channel: Channel) -> None:
    """The worker's side, until the other one goes."""
    with contextlib.closing(channel), contextlib.suppress(OSError):
        channel.socket.settimeout(None)
        while data := channel.socket.recv(1):
            channel.socket.sendall(data)


def watch(channel: Channel, ended: threading.Event) -> str:
    """The main machine's side, until ``ended`` is set: nothing, or what became of the worker before that."""
    with contextlib.closing(channel):
        while not ended.wait(BEAT):
            deadline = time.monotonic() + PATIENCE
            try:
                channel.write(_BYTE, deadline)
                channel.read(len(_BYTE), deadline)
            except TimeoutError:
                return f"has given no sign of life for {PATIENCE:.0f} seconds"
            except OSError:
                return "is gone"
    return ""
