"""An engine in another process: --chat keeps the terminal and the user's files here, outside the sandbox, and has the
model read and computed in a child within it (engine_host.py).

Each question is a pair of pipes that is handed over through a socket, as an errand's is (errands.py): down the first go
a line of JSON and the body, up the second comes the answer in frames, each a length and as many bytes; the frame of the
status comes first, and one of an error ends an answer with the length `BROKEN` before it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from solofile.runtime.engine_api import Request, State
from solofile.runtime.errands import Errands, send
from solofile.runtime.errors import EngineError, InputError

STATE, WAIT, READING, CALL = "state", "wait", "reading", "call"
BROKEN = 0xFFFFFFFF
LENGTH = struct.Struct("=I")
GONE_STATUS = 499
_STEP = 20


class RemoteEngine:
    """An `engine_api.Engine` whose process is ``child``, at the other end of ``way``."""

    def __init__(self, way: socket.socket, child: int) -> None:
        """Wait until it has begun to load. Raises InputError or EngineError for what keeps it from that."""
        self._child = child
        self._errands = Errands(way)
        word = way.recv(1 << 16)
        if not word:
            self._follow()
        said = json.loads(word)
        if "failure" in said:
            self._errands.close()
            os.waitpid(child, 0)
            raise (InputError if said["code"] == InputError.exit_code else EngineError)(said["failure"])

    def state(self) -> State:
        """Where it stands now."""
        return self._ask_state(STATE, {})

    def wait(self, timeout: float | None = None) -> State:
        """Block until it is not loading any more, or for ``timeout`` seconds."""
        return self._ask_state(WAIT, {"timeout": timeout})

    def reading(self) -> tuple[int, int] | None:
        """(done, total) bytes of the model while it is read first."""
        found = self._ask(READING, {}).get("reading")
        return None if found is None else (found[0], found[1])

    def call(self, request: Request) -> RemoteCall:
        """Prepare an answer; nothing is computed before `RemoteCall.run`."""
        return RemoteCall(self._errands, request)

    def stop(self, _timeout: float = 2.0) -> None:
        """End it."""
        self._errands.close()
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)

    def _ask_state(self, name: str, fields: dict[str, Any]) -> State:
        found = self._ask(name, fields)
        return State(**found) if found else State("stopped", 0.0, "the process of the model has ended")

    def _ask(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._errands.run(name, fields) or {}
        except OSError:
            self._follow()
            return {}

    def _follow(self) -> None:
        """The child is no more: end as it did where it crashed, so that the launcher sees what it would have seen."""
        self._errands.close()
        try:
            _, status = os.waitpid(self._child, 0)
        except ChildProcessError:  # another thread has seen it
            status = 0
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            number = os.WTERMSIG(status)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise EngineError("The process of the model has ended: start again.")


class RemoteCall:
    """An `engine_api.Call` over pipes."""

    def __init__(self, errands: Errands, request: Request) -> None:
        self._errands, self._request = errands, request
        self._cancelled = threading.Event()

    def run(self) -> RemoteResponse:
        """Block until the status is known."""
        asked = self._request
        fields = {"method": asked.method, "path": asked.path, "query": asked.query, "headers": dict(asked.headers)}
        try:
            sending, receiving = self._errands.hand_over(CALL)
        except OSError as error:
            raise EngineError("The process of the model has ended: start again.") from error
        send(sending, fields, asked.body)
        return RemoteResponse(receiving, self._cancelled)

    def cancel(self) -> None:
        """From any thread: make `run` and the iteration of its answer end soon."""
        self._cancelled.set()


class RemoteResponse:
    """The answer that comes through a pipe."""

    def __init__(self, receiving: int, cancelled: threading.Event) -> None:
        self._receiving, self._cancelled = receiving, cancelled
        self._open = True
        self._poll = select.poll()
        self._poll.register(receiving, select.POLLIN)
        head = json.loads(self._frame() or f'{{"status": {GONE_STATUS}, "headers": []}}')
        self.status: int = head["status"]
        self.headers: list[tuple[str, str]] = [(name, value) for name, value in head["headers"]]

    def __iter__(self) -> Iterator[bytes]:
        """Chunk after chunk, until the answer ends or is cancelled."""
        while (chunk := self._frame()) is not None:
            yield chunk

    def close(self) -> None:
        """End the answer."""
        if self._open:
            self._open = False
            os.close(self._receiving)

    def __del__(self) -> None:
        self.close()

    def _frame(self) -> bytes | None:
        """The next frame; None at the end. Raises EngineError for what went wrong in the other process."""
        head = self._exactly(LENGTH.size)
        if len(head) < LENGTH.size:
            self.close()
            return None
        (length,) = LENGTH.unpack(head)
        if length == BROKEN:
            (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
            raise EngineError(self._exactly(length).decode("utf-8", "replace"))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        """So many bytes, fewer at the end or when it is cancelled."""
        found = b""
        while len(found) < count and self._open and not self._cancelled.is_set():
            if self._poll.poll(_STEP):
                chunk = os.read(self._receiving, count - len(found))
                if not chunk:
                    break
                found += chunk
        return found
