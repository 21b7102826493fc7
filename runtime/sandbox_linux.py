"""The sandbox of Linux: Landlock while there is one thread, seccomp on all of them when the model is loaded."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from importlib import import_module
from pathlib import Path

from solofile.runtime import landlock, seccomp
from solofile.runtime.landlock import DEVICE, MAKE, READ, WRITE, Rule
from solofile.runtime.sandbox_needs import Needs

LATER = (
    "_bisect", "_blake2", "_bz2", "_contextvars", "_csv", "_ctypes", "_datetime", "_decimal", "_hashlib", "_heapq",
    "_json", "_lzma", "_md5", "_opcode", "_pickle", "_posixsubprocess", "_queue", "_random", "_sha1", "_sha256",
    "_sha3", "_sha512", "_socket", "_statistics", "_struct", "_typing", "_uuid", "array", "binascii", "fcntl", "grp",
    "math", "pyexpat", "resource", "select", "termios", "unicodedata", "zlib",
)  # fmt: skip
"""Modules of the standard library that are native code: what a request may import must be there before seccomp.

Not among them: _ssl, which a server that speaks TLS has by then, and _asyncio, which has a stand-in in Python.
"""

_PATIENCE = 0.5


def enter(needs: Needs) -> str:
    """Step 1: out of reach is what ``needs`` does not name. Returns why that is not all that there could be, or
    nothing."""
    _make_ready(needs)
    alone = _is_single_threaded()
    try:
        level = landlock.restrict(rules(needs), needs.ports)
    except OSError as error:
        with contextlib.suppress(OSError):
            landlock.set_no_new_privileges()
        return why_no_landlock(error)
    if not alone:
        return "a thread that was there before is not confined"
    return what_it_lacks(level)


def seal(*, gpu: bool) -> str:
    """Step 2: no programs, connections or code any more. Returns why not, or nothing."""
    for name in LATER:
        with contextlib.suppress(ImportError):
            import_module(name)
    with contextlib.suppress(OSError):  # the C library loads it when a thread ends early, and aborts where it cannot
        ctypes.CDLL("libgcc_s.so.1")
    try:
        seccomp.restrict(seccomp.GPU if gpu else seccomp.CPU)
    except OSError as error:
        return why_no_seccomp(error)
    except KeyError:
        return f"there is no filter of system calls for {os.uname().machine}"
    return ""


def rules(needs: Needs) -> list[Rule]:
    """The same for Landlock."""
    found = [Rule(path, READ) for path in needs.read]
    found += [Rule(path, READ, kept=True) for path in needs.kept]
    found += [Rule(path, WRITE) for path in needs.write]
    found += [Rule(path, MAKE) for path in needs.make]
    if needs.gpu:
        nodes = (*needs.devices, *(str(node) for node in Path("/dev").glob("nvidia*")))
        found += [Rule(path, MAKE if path == "/dev/shm" else DEVICE) for path in nodes]
    return found


def _make_ready(needs: Needs) -> None:
    """Make what is to be written to: a rule is about what is there."""
    for path in needs.make:
        with contextlib.suppress(OSError):
            os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103
    for path in needs.write:
        if not os.path.lexists(path):
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))


def _is_single_threaded() -> bool:
    """Is there one thread? One that reads the last words of a child may take a moment to end."""
    end = time.monotonic() + _PATIENCE
    while len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def why_no_landlock(error: OSError) -> str:
    """Why the files are not out of reach."""
    if error.errno == errno.EOPNOTSUPP:
        return "Landlock is not turned on here (the kernel's option lsm= has to name it)"
    if error.errno in (errno.ENOSYS, errno.EPERM):
        return f"this kernel ({os.uname().release}) or container has no Landlock, which came with Linux 5.13"
    return f"Landlock refuses ({error.strerror})"


def what_it_lacks(level: int) -> str:
    """What Landlock of this level leaves open that seccomp does not close before the model is loaded."""
    if level >= 6:
        return ""
    lacking = [words for least, words in ((3, "truncating"), (4, "TCP"), (5, "ioctl"), (6, "signals")) if level < least]
    return f"the Landlock of this kernel ({os.uname().release}) says nothing of {', '.join(lacking)}"


def why_no_seccomp(error: OSError) -> str:
    """Why system calls are not refused."""
    if error.errno == errno.ESRCH:
        return "a thread has a filter of system calls of its own"
    return f"system calls cannot be filtered here ({error.strerror})"


def level() -> int:
    """The level of Landlock; 0 where there is none."""
    try:
        return landlock.abi()
    except OSError:
        return 0


def trial(needs: Needs) -> tuple[str, str]:
    """What both steps would come to in a start, found out in a process that is there for it alone."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.write(writing, f"{enter(needs)}\n{seal(gpu=needs.gpu)}\n".encode())
            os._exit(0)
        os._exit(1)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor
        lines = answer.read().split("\n")
    os.waitpid(child, 0)
    if len(lines) != 3:
        return "it could not be tried", "it could not be tried"
    return lines[0], lines[1]
