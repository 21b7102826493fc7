"""The process that stays outside the sandbox, to begin anew with another model or without a worker that was lost.

What is confined cannot become unconfined again, and such a start needs all that a start needs. So the process
that the launcher watches forks once the port is taken: the child takes everything on, enters the sandbox and serves;
this one keeps the sockets, passes signals on, and ends as the child does, or becomes the successor that the child
names (handover.py). It reads nothing of what clients send: only that name, which it looks up.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from solofile.runtime.ports import Listener

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

POSSIBLE = hasattr(os, "fork") and hasattr(signal, "sigwait")

_LONGEST_NAME = 4096

_way: int | None = None


class Ended(NamedTuple):
    """What a child left: its exit code, and the name of what is to follow, empty for nothing."""

    code: int
    successor: str = ""


def split(listeners: Sequence[Listener], successors: Collection[str]) -> Ended | None:
    """Fork, with one thread in this process. None in the child, which serves; in the parent what the child left.

    A child that a signal ended takes the parent with it by the same, so that the launcher sees what it would have seen.
    """
    reading, writing = os.pipe()
    passed = {number for number in map(_number, _PASSED) if number is not None}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, passed | {signal.SIGCHLD})
    child = os.fork()
    if not child:
        _serve_within(reading, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return None
    os.close(writing)
    asked, status = _watch(child, passed, listeners)
    name = _read(reading)
    if os.WIFSIGNALED(status):
        _end_by(os.WTERMSIG(status))
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return Ended(os.waitstatus_to_exitcode(status), name if name in successors and not asked else "")


def inside() -> bool:
    """Is this process such a child?"""
    return _way is not None


def ask(successor: str) -> None:
    """Have the process outside begin anew as ``successor`` when this one has ended."""
    if _way is None:
        raise ValueError("there is no process outside")
    os.write(_way, successor.encode())


_PASSED = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def _number(name: str) -> int | None:
    """A signal that is not ignored: nohup's stays ignored, in the child as well."""
    number = getattr(signal, name)
    return None if signal.getsignal(number) == signal.SIG_IGN else int(number)


def _serve_within(reading: int, writing: int) -> None:
    from solofile.runtime.probe_child import end_with_parent_process

    global _way
    os.close(reading)
    _way = writing
    end_with_parent_process()


def _watch(child: int, passed: Collection[int], listeners: Sequence[Listener]) -> tuple[bool, int]:
    """Pass signals on until the child has ended: was one of them to end it, and how it ended."""
    asked = False
    while True:
        number, from_terminal = _next_signal({*passed, signal.SIGCHLD})
        if number == signal.SIGCHLD:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return asked, status
            continue
        asked = True
        for one in listeners:  # nobody is to wait in them for what will not come
            one.socket.close()
        if not from_terminal:  # which tells the child as well
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _read(reading: int) -> str:
    """What the child has written; processes that it started may have its end of the pipe open for a while."""
    os.set_blocking(reading, False)
    with contextlib.suppress(BlockingIOError), os.fdopen(reading, "rb", buffering=0) as pipe:
        return (pipe.read(_LONGEST_NAME) or b"").decode("utf-8", "replace")
    return ""


def _next_signal(numbers: Collection[int]) -> tuple[int, bool]:
    """The next of these signals, and whether it is the terminal's."""
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        number = signal.sigwait(numbers)
        return number, number in (signal.SIGINT, signal.SIGQUIT)
    info = signal.sigwaitinfo(numbers)
    return info.si_signo, info.si_signo in (signal.SIGINT, signal.SIGQUIT) and info.si_code > 0


def _end_by(number: int) -> None:
    """Die of a signal, leaving the image of the memory to the child that had reason to."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
