"""The runtime as a child: started, watched to its end, and started once more when it crashes.

As runtime/launcher/supervise.zig does it: signals and the exit code are passed on, and after a crash the runtime is
told so, which then leaves out what crashed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import CacheError, SolofileError
from solofile.runtime.pylauncher import crash

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

_WAY_OUT = 10.0
"""Seconds after a request to end within which a crash came on the way out: not worth a second start."""

_CRASHES = ("SIGILL", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE")
_TAKEN = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD")
_STOPS = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP")
_OF_THE_TERMINAL = ("SIGINT", "SIGQUIT")
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG

Say = Callable[[str], None]


class Job(NamedTuple):
    """What is run: the program's words without the user's, the file that they begin (None: their first), the user's
    words, the environment, and what a note of a crash names."""

    program: Sequence[str]
    executable: str | None
    words: Sequence[str]
    environ: Mapping[str, str]
    cache: str
    bundle: str


class End(NamedTuple):
    """How it ended: the exit code, the name of the signal of a crash, and whether somebody had asked it to end."""

    code: int
    crash: str
    asked: bool


def run(job: Job, say: Say) -> int:
    """Run the job to its end; the exit code of the launcher. Raises CacheError."""
    terminal = _terminal()
    first = _watch(job, {})
    if not first.crash:
        return first.code
    _restore(terminal)
    noted = crash.note(job.cache, job.bundle, job.words, first.crash)
    if first.asked:
        return first.code
    say(f"the runtime crashed ({first.crash}){noted}; it is started once more.")
    second = _watch(job, {"SOLOFILE_CRASH": first.crash})
    _restore(terminal)
    if second.crash and not second.asked:
        noted = crash.note(job.cache, job.bundle, job.words, second.crash)
        raise SolofileError(
            f"The runtime crashed again ({second.crash}){noted}; start it with --doctor to see what it runs on."
        )
    return second.code


def _watch(job: Job, told: Mapping[str, str]) -> End:
    return _watch_windows(job, told) if sys.platform == "win32" else _watch_posix(job, told)


def _start(job: Job, told: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
    command = [*job.program, *job.words]
    try:
        return subprocess.Popen(
            command, executable=job.executable, env={**job.environ, **told}, close_fds=False, **more
        )
    except OSError as error:
        name = job.executable or command[0]
        raise CacheError(
            f"{name} cannot be started ({error.strerror}); set SOLOFILE_CACHE to a folder that programs can be "
            "started from, or free memory and processes."
        ) from error


def _watch_posix(job: Job, told: Mapping[str, str]) -> End:
    """Signals wait until they are asked for: no handler runs, so none can fall between two steps."""
    taken = {getattr(signal, name) for name in _TAKEN}
    ignored = {one for one in taken if signal.getsignal(one) == signal.SIG_IGN}
    before: set[Any] = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    parent = os.getpid()
    try:
        child = _start(job, told, preexec_fn=lambda: _become_child(before, parent))
        asked_at = None
        while (code := child.poll()) is None:
            number, by_terminal = _next_signal(taken)
            if number == signal.SIGCHLD:
                continue
            name = signal.Signals(number).name
            if not (by_terminal and name in _OF_THE_TERMINAL):  # Ctrl-C reaches the whole group by itself
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)
            if name in _STOPS and number not in ignored:
                asked_at = time.monotonic()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    asked = asked_at is not None and time.monotonic() - asked_at < _WAY_OUT
    if code >= 0:
        return End(code, "", asked)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
    return End(128 - code, name if name in _CRASHES else "", asked)


def _become_child(mask: set[Any], parent: int) -> None:
    """Between fork and exec: end when the launcher does, where the system offers that, and hear signals as it did."""
    with contextlib.suppress(Exception):  # a Python without ctypes, a system that is not Linux
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)  # it died before it was to be told
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _next_signal(taken: set[Any]) -> tuple[int, bool]:
    """The next signal, and whether it came from the terminal."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(taken)
        return found.si_signo, found.si_code > 0
    return signal.sigwait(taken), _in_foreground()


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _watch_windows(job: Job, told: Mapping[str, str]) -> End:
    """Ctrl-C goes to every program of a console: the runtime answers it, and this waits for that."""
    from solofile.runtime.windows_calls import SIGNALS

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = _start(job, told).wait()
    return End(code, SIGNALS.get(code & 0xFFFFFFFF, ""), False)


def _terminal() -> list[Any] | None:
    """The terminal's settings before the child changes them; None where standard input is none."""
    try:
        import termios

        return termios.tcgetattr(0)
    except (ImportError, OSError, termios.error):
        return None


def _restore(settings: list[Any] | None) -> None:
    """After a crash: echo and line editing as they were. Not from the background, where that would stop us."""
    if settings is not None and _in_foreground():
        import termios

        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, settings)
