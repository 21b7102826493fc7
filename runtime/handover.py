"""Another model of the bundle while it serves: this program becomes itself once more, its listening sockets in hand.

A process that has held a model is never quite as it was: memory in pieces, libraries of kernels that cannot be taken
out again. So it is replaced (execve) and not reused. Clients that come meanwhile wait in the sockets' queues. The
process, which the launcher watches, stays the same one, and so do port, keys and the record of where the page is. With
the sandbox, which nobody leaves, it is the process outside of it that does so (outside.py).

Windows replaces no process: there the program has to be started again with --use.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from solofile.runtime import options, own_program
from solofile.runtime.boot import RESUME
from solofile.runtime.ports import Listener

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

POSSIBLE = os.name == "posix"

_CHOOSE = frozenset({"--use", "-m"})
_DROPPED = frozenset({RESUME, "SOLOFILE_CRASH"})


class Resumed(NamedTuple):
    """What the process had before: its sockets, the secret of the page's record and what was said of the port."""

    listeners: list[Listener]
    secret: str
    moved: dict[str, Any] | None


def words_with(words: Sequence[str], model: str) -> list[str]:
    """A command line that asks for the same with ``model``."""
    kept = [word for one in options.parse(words) if one.option.key not in _CHOOSE for word in one.words()]
    return [*kept, "--use", model]


def environment(
    environ: Mapping[str, str], listeners: Sequence[Listener], secret: str, moved: dict[str, Any] | None
) -> dict[str, str]:
    """``environ`` as the process got it, with what is handed over."""
    sockets = [[one.socket.fileno(), one.host, one.port] for one in listeners]
    state = {"process": os.getpid(), "sockets": sockets, "secret": secret, "moved": moved}
    # PyInstaller's are about the process as it is, and it is to be one like it and not a part of it.
    kept = {key: one for key, one in environ.items() if key not in _DROPPED and not key.startswith("_PYI_")}
    return kept | {RESUME: json.dumps(state)}


def become(
    words: Sequence[str], environ: Mapping[str, str], listeners: Sequence[Listener], secret: str,
    moved: dict[str, Any] | None,
) -> NoReturn:  # fmt: skip
    """Replace this process by one with these ``words`` on its command line. Raises OSError where that cannot be."""
    program = own_program.command()
    if getattr(sys, "frozen", False):
        program = [environ.get("SOLOFILE_BUNDLE", sys.executable)]  # as the launcher calls it, for lists of processes
    arguments = [*program, *words]
    for one in listeners:
        one.socket.set_inheritable(True)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    encoded = [one.encode("utf-8", "surrogateescape") for one in arguments]
    os.execve(sys.executable, encoded, environment(environ, listeners, secret, moved))


def resumed(environ: Mapping[str, str]) -> Resumed | None:
    """What was handed over to this process, None for one that begins."""
    os.environ.pop(RESUME, None)  # it is for us and not for our children
    try:
        state = json.loads(environ.get(RESUME, "null"))
        if not state or state["process"] != os.getpid():
            return None
        listeners = [_listener(*one) for one in state["sockets"]]
        return Resumed(listeners, str(state["secret"]), state["moved"])
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _listener(descriptor: int, host: str, port: int) -> Listener:
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    return Listener(sock, host, port)
