"""The child process of probing.py: loads libraries that may crash, asks them, and tells its parent."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import SolofileError

if TYPE_CHECKING:
    from solofile.runtime.sandbox import Sandbox

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_LAST, _IDLE_PRIORITY_CLASS = 19, 0x40


class _Missing(Exception):  # noqa: N818 - reads as what happened
    """A library, or one that it needs, is not on this machine."""


def main(compute: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> int:
    """Read a job, do it and write the answer; returns the exit code. ``compute`` stands for the real work in tests."""
    answer, job = begin()
    if job is None:
        return 2
    if job.get("background"):
        _give_way()
    sandbox = _confine(job) if job.get("confined") else None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = compute(job) if compute is not None else _compute(job, sandbox)
    except SolofileError as error:
        result = {"failure": str(error)}
    except _Missing as error:
        result = {"failure": str(error), "missing": True}
    except MemoryError:
        result = {"failure": "it ran out of memory"}
    with os.fdopen(answer, "wb") as out:
        out.write(json.dumps(result).encode())
    return 0


def begin() -> tuple[int, dict[str, Any] | None]:
    """Make this process a child: where its answer goes, and its job; None, and a word, where nobody of ours asks."""
    answer = _keep_stdout()
    _limit()
    try:
        return answer, json.loads(sys.stdin.buffer.readline())
    except ValueError:
        sys.stderr.write("This is a part of a bundle and not meant to be started by itself: start the bundle.\n")
        return answer, None


def _keep_stdout() -> int:
    """Keep standard output for the answer: what drivers print goes to standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def _limit() -> None:
    """Write no memory image when it crashes, be the first to go when memory runs short, and end with the parent."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    end_with_parent_process()


def end_with_parent_process() -> None:
    """Have the kernel end this process when the thread that started it ends, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def _give_way() -> None:
    """Leave the CPUs to whoever else wants them, above all to the parent when somebody asks it something.

    Linux's desktops share out CPUs between sessions first, by a niceness of the session.
    """
    if sys.platform == "win32":
        kernel = ctypes.windll.kernel32
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), _IDLE_PRIORITY_CLASS)
        return
    with contextlib.suppress(OSError):
        os.nice(_LAST)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(str(_LAST))


def _end_with_parent() -> None:
    """Standard input ends when the parent does; on Linux the kernel sees to it as well."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)


def _confine(job: dict[str, Any]) -> Sandbox | None:
    """Do without what this job does not need; before there is a second thread."""
    from solofile.runtime import sandbox_child

    model, cache = job.get("member", {}).get("file", ""), os.environ.get("SOLOFILE_CACHE_DIR", "/nonexistent")
    return sandbox_child.of_probe(model, Path(job["native_dir"]), job["backends"], cache)


def _compute(job: dict[str, Any], sandbox: Sandbox | None) -> dict[str, Any]:
    from solofile.runtime import native_probe
    from solofile.runtime.engine import Member, prepare

    folder, backends = Path(job["native_dir"]), [Path(path) for path in job["backends"]]
    prepare(folder, (), ())
    for path in backends:
        _look_for(path)
    member = [Member(**job["member"])] if "member" in job else []
    library = prepare(folder, backends, member)
    if sandbox is not None:
        sandbox.seal()
    result: dict[str, Any] = {"devices": native_probe.devices(library)} if job.get("list_devices") else {}
    return result | (native_probe.probe(library, job["probe"]) if "probe" in job else {})


def _look_for(path: Path) -> None:
    """Load a library by itself: that tells what is missing from what does not want to work."""
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        raise _Missing(_why(error, path)) from error


def _why(error: OSError, path: Path) -> str:
    """What the system says against a library; Windows does not say which other one it misses, nor Python why."""
    if sys.platform == "win32" and isinstance(error, FileNotFoundError):
        return f"{path.name}, or a library that it needs, does not load"
    return str(error).removeprefix(f"{path}: ")
