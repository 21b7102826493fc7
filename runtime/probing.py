"""Trying something that may crash, hang or be missing in a child process, so that the worst is a sentence.

The child is this program, started with SOLOFILE_CHILD in its environment (probe_child.py): it reads a job as one line
of JSON from standard input, loads the libraries, measures, and writes JSON to standard output.

    {"native_dir": …, "backends": [paths, the CPU variant first], "list_devices": true,
     "background": false, "confined": true, "environment": {…},
     "member": {"name", "file", "offset", "size"}, "probe": {…}}   sf_probe's spec, both or neither

It answers ``{"devices": […], …sf_probe's result}`` or ``{"failure": sentence, "missing": true}``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from solofile.runtime import own_program
from solofile.runtime.kernel_path import CRASHED, FAILED, HUNG, MISSING, OK, UNTRIED, Outcome

if TYPE_CHECKING:
    import subprocess

    from solofile.runtime.engine import Member
    from solofile.runtime.probe_plan import Probe

VARIABLE = "SOLOFILE_CHILD"
STOPPED = "stopped"
"""The status of a probe that was given up because something else wants the machine."""

MOST_ERROR = 0.05
"""Relative to double precision; kernels that compute with 8-bit inputs are off by 1 %."""

_ANSWER_LIMIT, _LAST_WORDS = 1 << 20, 4096
_STEP = 0.02
_PATIENCE = 2.0

Job = Mapping[str, Any]


def job(
    probe: Probe, native_dir: Path, backends: Sequence[Path], member: Member, *, confined: bool = True
) -> dict[str, Any]:
    """What the child is asked: ``backends`` are the libraries that the probe needs, ``member`` is the model.

    ``confined``: it does without what it does not need (sandbox.py).
    """
    asked: dict[str, Any] = {
        "native_dir": str(native_dir),
        "backends": [str(path) for path in backends],
        "list_devices": bool(probe.backend),
        "background": probe.background,
        "environment": dict(probe.environment),
        "confined": confined,
    }
    if probe.measure:
        place = {"name": member.name, "file": str(member.file), "offset": member.offset, "size": member.size}
        asked |= {"member": place, "probe": probe.spec(member.name)}
    return asked


def child_main() -> int:
    """What the child does; returns its exit code."""
    from solofile.runtime import probe_child

    return probe_child.main()


def run(
    job: Job, timeout: float, *, command: Sequence[str] | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Outcome:
    """Do a job in a child process; whatever becomes of it is the outcome, and nothing is left of it afterwards.

    Ends early, with the status STOPPED, when ``cancelled`` says so. ``command`` stands for this program in tests.
    """
    import json
    import subprocess

    from solofile.runtime import gpu_environment

    # PyInstaller's are about this process, and the child is to be one like it and not a part of it.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("_PYI_")}
    environment = {**gpu_environment.cleaned(inherited), VARIABLE: "probe", **job.get("environment", {})}
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(
            list(command or own_program.command()), stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0,
            start_new_session=True, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )  # fmt: skip
    except OSError as error:
        return Outcome(UNTRIED, f"no child process could be started: {error.strerror or error}")
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    answer, words = _Reader(child.stdout, _ANSWER_LIMIT, first=True), _Reader(child.stderr, _LAST_WORDS, first=False)
    try:
        with contextlib.suppress(OSError):  # it may have ended before it read anything
            child.stdin.write(json.dumps(job).encode() + b"\n")
        given_up = _wait(child, answer, time.monotonic() + timeout, cancelled)
    finally:
        _end(child)
    for reader in (answer, words):
        reader.join(_PATIENCE / 10)  # what has fled from the process group may hold the pipe for ever
    if given_up:
        return Outcome(given_up, f"no answer within {timeout:g} s" if given_up == HUNG else "")
    return _judge(child.returncode, answer, words.last_line())


class _Reader(threading.Thread):
    """Reads a pipe to its end and keeps the ``first`` or the last bytes of it."""

    def __init__(self, pipe: IO[bytes], limit: int, *, first: bool) -> None:
        super().__init__(name="solofile-probe", daemon=True)
        self._pipe, self._limit, self._first = pipe, limit, first
        self.data = b""
        self.overflow = False
        self.start()

    def run(self) -> None:
        with self._pipe, contextlib.suppress(OSError, ValueError):
            while chunk := self._pipe.read(1 << 16):
                whole = self.data + chunk if not (self._first and self.overflow) else self.data
                self.overflow |= len(whole) > self._limit
                self.data = whole[: self._limit] if self._first else whole[-self._limit :]

    def last_line(self) -> str:
        """The last line that says anything, fit to be shown."""
        lines = [line.strip() for line in self.data.decode("utf-8", "replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return "".join(letter if letter.isprintable() else "?" for letter in last)[:200]


def _wait(child: subprocess.Popen[bytes], answer: _Reader, end: float, cancelled: Callable[[], bool]) -> str:
    """Wait for the child to end; the status with which it is given up, if it is."""
    while not _has_ended(child):
        if cancelled():
            return STOPPED
        if time.monotonic() >= end:
            return HUNG
        answer.join(_STEP)
        if not answer.is_alive():
            time.sleep(_STEP / 10)
    return ""


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Has it ended? It stays a zombie where that can be asked for, so that its group is still its own."""
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child with all that it started. One that hangs in the kernel is left behind."""
    import signal
    import subprocess

    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE)
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()


def _judge(code: int | None, answer: _Reader, words: str) -> Outcome:
    """What the child's end and its answer mean."""
    said = f": {words}" if words else ""
    if code is None or code < 0 or code > 0x7FFFFFFF:
        return Outcome(CRASHED, _signal_name(code) + said)
    if code:
        return Outcome(FAILED, f"it ended with code {code}{said}")
    if answer.overflow:
        return Outcome(FAILED, "it wrote far more than an answer")
    result = _parse(answer.data)
    if result is None:
        return Outcome(FAILED, "its answer is no JSON")
    if "failure" in result:
        return Outcome(MISSING if result.get("missing") else FAILED, str(result["failure"]).rstrip("."))
    error = result.get("error", 0.0)
    if not isinstance(error, (int, float)) or not error <= MOST_ERROR:
        return Outcome(FAILED, f"it computes wrongly, off by {error!r} of 1")
    return Outcome(OK, "", result)


def _signal_name(code: int | None) -> str:
    import signal

    if code is None:
        return "it cannot be killed"
    if code > 0:
        from solofile.runtime.windows_calls import SIGNALS

        return SIGNALS.get(code, f"0x{code:08X}")
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        return f"{name}, which the system sends where memory runs out" if name == "SIGKILL" else name
    return f"signal {-code}"


def _parse(data: bytes) -> dict[str, Any] | None:
    import json

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
