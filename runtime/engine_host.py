"""The child that holds the model of --chat, in the sandbox: it answers what remote_engine.py asks, and ends with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from solofile.runtime.engine_api import Request
from solofile.runtime.errors import SolofileError
from solofile.runtime.remote_engine import BROKEN, CALL, LENGTH, READING, STATE, WAIT, RemoteEngine

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Call, Engine

_LINE_LIMIT = 1 << 20
_LOOK = 50
_MOST_WAIT = 1.0


def split(begin: Callable[[], Engine]) -> RemoteEngine:
    """Have ``begin`` make an engine in a child, with one thread in this process; the way to it.

    Raises what `RemoteEngine` does.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child:
        theirs.close()
        return RemoteEngine(ours, child)
    ours.close()
    with contextlib.suppress(BaseException):
        _be_child()
        _live(theirs, begin)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(0)


def _be_child() -> None:
    """Leave the terminal to the parent, but for what is said; end with it."""
    from solofile.runtime.probe_child import end_with_parent_process

    end_with_parent_process()
    for name in ("SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), lambda *_: None)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _live(way: socket.socket, begin: Callable[[], Engine]) -> None:
    try:
        engine = begin()
    except SolofileError as error:
        way.send(json.dumps({"failure": str(error), "code": error.exit_code}).encode())
        return
    way.send(b"{}")
    serve(way, engine)


def serve(way: socket.socket, engine: Engine) -> None:
    """Answer, each question on a thread, until nobody can ask any more."""
    while True:
        word, descriptors, _, _ = socket.recv_fds(way, 16, 2)
        if not word or len(descriptors) != 2:
            return
        name = word.decode("ascii", "replace")
        threading.Thread(target=_answer, args=(name, *descriptors, engine), daemon=True).start()


def _answer(name: str, receiving: int, sending: int, engine: Engine) -> None:
    with os.fdopen(receiving, "rb") as pipe, os.fdopen(sending, "wb") as out, contextlib.suppress(OSError):
        fields = json.loads(pipe.readline(_LINE_LIMIT))
        if name == CALL:
            _call(engine, fields, pipe.read(), out)
        else:
            out.write(json.dumps(_SHORT[name](engine, fields)).encode())


def _state(engine: Engine, _: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(engine.state())


def _wait(engine: Engine, fields: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(engine.wait(min(fields["timeout"] or _MOST_WAIT, _MOST_WAIT)))


def _reading(engine: Engine, _: dict[str, Any]) -> dict[str, Any]:
    return {"reading": engine.reading()}


_SHORT: dict[str, Callable[[Engine, dict[str, Any]], dict[str, Any]]] = {
    STATE: _state, WAIT: _wait, READING: _reading,
}  # fmt: skip


def _call(engine: Engine, fields: dict[str, Any], body: bytes, out: IO[bytes]) -> None:
    call = engine.call(Request(fields["method"], fields["path"], fields["query"], fields["headers"], body))
    done = threading.Event()
    threading.Thread(target=_watch, args=(out.fileno(), call, done), daemon=True).start()
    try:
        response = call.run()
        try:
            _frame(out, json.dumps({"status": response.status, "headers": list(response.headers)}).encode())
            for chunk in response:
                if chunk:
                    _frame(out, chunk)
        finally:
            response.close()
    except SolofileError as error:
        out.write(LENGTH.pack(BROKEN))
        _frame(out, str(error).encode())
    finally:
        done.set()


def _frame(out: IO[bytes], data: bytes) -> None:
    out.write(LENGTH.pack(len(data)) + data)
    out.flush()


def _watch(sending: int, call: Call, done: threading.Event) -> None:
    """Cancel a call when nobody reads its answer any more."""
    poll = select.poll()
    poll.register(sending, 0)
    while not done.is_set():
        if poll.poll(_LOOK):
            call.cancel()
            return
