"""The process outside the sandbox: forked by a start right before it confines itself, it runs errands (errands.py).

Nothing that it is asked decides what it does: which program is started, which library is measured and which page is
shown was known before. It ends when the process that asks ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from solofile.runtime import errands
from solofile.runtime.errands import LINE_LIMIT, Errands
from solofile.runtime.errors import SolofileError

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.selection import Ground
    from solofile.runtime.server_settings import ServerSettings
else:
    from solofile.runtime.record import NamedTuple

_LAST_WORDS = 10.0
"""Seconds that tidying up may take when the program has ended. Children end with the process that started them."""

_MOST_BYTES = 64 << 20

Gone = Callable[[], bool]
Job = Mapping[str, Any]


class Scope(NamedTuple):
    """What may be asked for: ``ground`` is this start's, ``pages`` its addresses, ``sockets`` its Unix sockets.

    ``environ`` is the one for a browser. ``ground`` is None in a process that measures nothing. ``server`` names the
    access log and the collector of traces.
    """

    cache: Path
    environ: Mapping[str, str]
    ground: Ground | None = None
    pages: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    server: ServerSettings | None = None


def fork(scope: Scope, close: Iterable[socket.socket] = ()) -> Errands | None:
    """Start it, with one thread in this process; ``close`` are sockets that are not its business. None where the system
    starts no process: then nothing can be asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        child = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        return None
    if child:
        theirs.close()
        return Errands(ours)
    with contextlib.suppress(BaseException):
        ours.close()
        for one in close:
            one.close()
        _detach()
        serve(theirs, scope)
    os._exit(0)


def _detach() -> None:
    """Have nothing of the terminal: Ctrl-C is for the process that asks, and pipes are to end with it.

    A handler and not SIG_IGN, which programs that are started would inherit.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), lambda *_: None)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    errands.use(None)


def serve(way: socket.socket, scope: Scope) -> None:
    """Run errands, each on a thread, until nobody can ask any more."""
    lasting: list[threading.Thread] = []
    while True:
        word, descriptors, _, _ = socket.recv_fds(way, 16, 2)
        if not word or len(descriptors) != 2:
            break
        name = word.decode("ascii", "replace")
        thread = threading.Thread(target=_run, args=(name, *descriptors, scope), daemon=True)
        thread.start()
        lasting = [one for one in lasting if one.is_alive()] + ([thread] if name in _LASTING else [])
    for one in lasting:
        one.join(_LAST_WORDS)


def _run(name: str, receiving: int, sending: int, scope: Scope) -> None:
    with os.fdopen(sending, "wb") as out, os.fdopen(receiving, "rb") as pipe:
        if name == errands.LOG:
            _log(scope, pipe, out)
            return
        try:
            job = json.loads(pipe.readline(LINE_LIMIT))
            answer = _ERRANDS[name](scope, job, pipe, lambda: _is_gone(sending))
        except SolofileError as error:
            answer = {"failure": str(error)}
        except Exception as error:  # a question of any make must not end what others need
            answer = {"failure": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(OSError):
            out.write(json.dumps(answer).encode())
            out.flush()


def _is_gone(sending: int) -> bool:
    """Does nobody wait for the answer any more?"""
    poll = select.poll()
    poll.register(sending, 0)
    return bool(poll.poll(0))


def _pdf(_: Scope, job: Job, pipe: IO[bytes], __: Gone) -> dict[str, Any]:
    from solofile.runtime import own_program, pdf

    try:
        seconds = min(float(job["seconds"]), pdf.SECONDS)
        answer = pdf.in_child(pipe.read(_MOST_BYTES), seconds, own_program.command())
    except subprocess.TimeoutExpired:
        return {"late": True}
    except OSError as error:
        return {"failure": error.strerror or str(error)}
    return {"answer": answer.decode("utf-8", "replace")}


def _probe(scope: Scope, job: Job, _: IO[bytes], gone: Gone) -> dict[str, Any]:
    from solofile.runtime import selection
    from solofile.runtime.probe_plan import Probe

    probe = Probe(**job["probe"])._replace(batches=tuple(job["probe"]["batches"]), environment=())
    if scope.ground is None or probe.backend:
        raise ValueError("only CPU variants are measured here")
    told: list[str] = []
    outcome = selection.try_out(scope.ground, probe, told.append, gone)
    return {"outcome": outcome._asdict(), "told": told}


def _show(scope: Scope, job: Job, _: IO[bytes], __: Gone) -> dict[str, Any]:
    from solofile.runtime import browser

    if job["url"] not in scope.pages:
        raise ValueError("that is no page of this start")
    told: list[str] = []
    shown = browser.open_page(job["url"], scope.environ, told.append, wait=True)
    return {"shown": shown, "told": told}


def _prune(scope: Scope, job: Job, _: IO[bytes], __: Gone) -> dict[str, Any]:
    from solofile.runtime import cache

    return {"removed": len(cache.prune(scope.cache, frozenset(job["keep"])))}


def _log(scope: Scope, lines: IO[bytes], out: IO[bytes]) -> None:
    from solofile.runtime import access_log, rotating_file

    if scope.server is not None and scope.server.access_log is not None:
        rotating_file.serve(scope.server.access_log, scope.server.access_log_bytes, access_log.KEPT, lines, out)


def _trace(scope: Scope, _: Job, pipe: IO[bytes], __: Gone) -> dict[str, Any]:
    from solofile.runtime import tracing

    if scope.server is None or not scope.server.otlp_endpoint:
        raise ValueError("no collector was named")
    return {"sent": tracing.Endpoint(scope.server.otlp_endpoint).post(pipe.read(_MOST_BYTES))}


def _unlink(scope: Scope, job: Job, _: IO[bytes], __: Gone) -> dict[str, Any]:
    if job["path"] not in scope.sockets:
        raise ValueError("that is no socket of this start")
    Path(job["path"]).unlink(missing_ok=True)
    return {}


_ERRANDS: Mapping[str, Callable[[Scope, Job, IO[bytes], Gone], dict[str, Any]]] = {
    errands.PDF: _pdf,
    errands.PROBE: _probe,
    errands.SHOW: _show,
    errands.PRUNE: _prune,
    errands.UNLINK: _unlink,
    errands.TRACE: _trace,
}

_LASTING = frozenset({errands.PRUNE, errands.LOG, errands.TRACE})
