"""The mode --rpc-worker: this machine computes a share of the layers of a model that another one has.

llama.cpp's RPC server answers one machine after the other and believes whatever it is told, so nobody reaches it but
through here: it has no port, and is handed connections whose other side has proven that it knows the secret
(rpc_channel.py). What comes in before that is bounded: so many connections at once, so many seconds for each.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime import rpc_cache, rpc_channel, rpc_handshake, rpc_native, rpc_pulse
from solofile.runtime.errors import SolofileError
from solofile.runtime.rpc_handshake import COMPUTE, LOOK, PULSE, Facts
from solofile.runtime.rpc_splice import splice

if TYPE_CHECKING:
    import ssl

    from solofile.runtime.ports import Listener
    from solofile.runtime.rpc_channel import Channel

MOST = 16
"""Connections at once that have not proven anything yet, or only ask; as many again that wait for signs of life."""

_STEP = 0.25
_PENALTY = 0.5
"""Seconds before somebody with another secret hears of it: with `MOST`, that bounds how many can be tried."""

Say = Callable[[str], None]


class Front:
    """Lets main machines in to llama.cpp's server: any to ask, one at a time to compute."""

    def __init__(
        self, listeners: Sequence[Listener], key: bytes, context: ssl.SSLContext, facts: Callable[[], Facts],
        between: Callable[[], object], say: Say,
    ) -> None:  # fmt: skip
        """``facts`` are asked for at each connection, ``between`` is called when nobody computes."""
        self._listeners, self._key, self._context = listeners, key, context
        self._facts, self._between, self._say = facts, between, say
        self._room = threading.BoundedSemaphore(MOST)
        self._pulses = threading.BoundedSemaphore(MOST)
        self._ready = threading.Semaphore(0)
        self._sessions: queue.Queue[int] = queue.Queue()
        self._busy = False

    def start(self) -> None:
        """Listen from now on, on threads of its own."""
        for one in self._listeners:
            threading.Thread(target=self._listen, args=(one.socket,), name="solofile-rpc", daemon=True).start()

    def accept(self) -> int:
        """For llama.cpp's server: block for the next machine that is to be computed for; its socket."""
        self._between()
        self._free()
        return self._sessions.get()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, address = listener.accept()
            except OSError:
                time.sleep(_STEP)  # too many open files: those that are open end
                continue
            if not self._room.acquire(blocking=False):
                sock.close()
                continue
            work = (sock, str(address[0]))
            threading.Thread(target=self._serve, args=work, name="solofile-rpc", daemon=True).start()

    def _serve(self, sock: socket.socket, peer: str) -> None:
        channel, purpose = None, LOOK
        try:
            channel, purpose = self._let_in(sock, peer)
        except (OSError, SolofileError):
            pass  # whoever came was no main machine, or went
        finally:
            self._room.release()
        if channel is None:
            return
        if purpose == COMPUTE:
            self._pass_on(channel, peer)
        elif self._pulses.acquire(blocking=False):
            try:
                rpc_pulse.answer(channel)
            finally:
                self._pulses.release()
        else:
            channel.close()

    def _pass_on(self, channel: Channel, peer: str) -> None:
        theirs, ours = socket.socketpair()
        with ours, contextlib.closing(channel):
            self._sessions.put(theirs.detach())
            self._say(f"Computing for {peer}.")
            splice(ours, channel.socket)
        self._say(f"{peer} has gone.")

    def _let_in(self, sock: socket.socket, peer: str) -> tuple[Channel | None, int]:
        """The channel of a machine that stays, and what for; none of one that only asked, or was refused."""
        deadline = time.monotonic() + rpc_channel.PATIENCE
        with contextlib.ExitStack() as stack:
            channel = rpc_channel.secured(sock, self._context, server=True, deadline=deadline)
            stack.callback(channel.close)
            purpose = rpc_channel.admit(channel, self._key, deadline, penalty=_PENALTY)
            if purpose is None:
                self._say(f"{peer} has another secret and was refused.")
                return None, LOOK
            computes = purpose == COMPUTE and self._ready.acquire(timeout=rpc_channel.PATIENCE)
            if computes:
                self._busy = True
                stack.callback(self._free)
            busy = not computes if purpose == COMPUTE else self._busy
            told = rpc_handshake.packed(self._facts()._replace(busy=busy))
            channel.write(told, time.monotonic() + rpc_channel.PATIENCE)
            if not computes and purpose != PULSE:
                return None, LOOK
            stack.pop_all()
            return channel, purpose

    def _free(self) -> None:
        self._busy = False
        self._ready.release()


def serve(front: Front, backend: rpc_native.Rpc, cache: Path | None, threads: int, devices: list[int]) -> None:
    """Run llama.cpp's server behind the front, on a thread of its own, and listen."""
    backend.sockets(accept=front.accept)
    work = (cache, threads, devices)
    threading.Thread(target=backend.serve, args=work, name="solofile-rpc-server", daemon=True).start()
    front.start()


def wait() -> None:
    """Until a signal ends the program: that is an exception of this thread, which must not sleep for long."""
    while True:
        time.sleep(_STEP)


def room_maker(cache: Path | None) -> Callable[[], object]:
    """What is done between two machines: the oldest weights make room."""
    return lambda: rpc_cache.make_room(cache) if cache is not None else None
