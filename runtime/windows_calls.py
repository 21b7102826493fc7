"""Windows where Python's own library has no word for it: locks of files, other processes, programs that outlive us."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from typing import Any

SIGNALS = {
    0xC0000005: "SIGSEGV",  # access violation
    0xC00000FD: "SIGSEGV",  # stack overflow
    0xC0000374: "SIGABRT",  # heap corruption
    0xC0000409: "SIGABRT",  # fast fail
    0xC000001D: "SIGILL",  # illegal instruction
    0xC0000096: "SIGILL",  # privileged instruction
    0xC0000006: "SIGBUS",  # a mapped file could not be read
    0xC0000094: "SIGFPE",  # division by zero
}
"""Exit codes of crashes, and what the same is called elsewhere; the launcher has these too (windows_process.zig)."""

_FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2
_LOCK_VIOLATION, _NOT_LOCKED, _IO_PENDING = 33, 158, 997
_UNSUPPORTED = (1, 50, 120)
_PLACE = 0x40000000
"""The upper half of where the locked byte lies: Windows' locks keep others from reading what is locked."""

_SYNCHRONIZE, _ACCESS_DENIED, _TIMEOUT = 0x100000, 5, 258
_BREAKAWAY_FROM_JOB, _DETACHED = 0x01000000, 0x00000008


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_size_t),
        ("internal_high", ctypes.c_size_t),
        ("offset", ctypes.c_uint32),
        ("offset_high", ctypes.c_uint32),
        ("event", ctypes.c_void_p),
    )


def _kernel() -> Any:
    library: Any = ctypes
    return library.WinDLL("kernel32", use_last_error=True)


def lock(descriptor: int, *, exclusive: bool, wait: bool) -> bool:
    """Take or change the lock of an open file; False where others hold it. Raises OSError, not for lack of locks."""
    import msvcrt

    system: Any = msvcrt
    unlock(descriptor)
    flags = (_EXCLUSIVE if exclusive else 0) | (0 if wait else _FAIL_IMMEDIATELY)
    place = _Overlapped(offset_high=_PLACE)
    handle = ctypes.c_void_p(system.get_osfhandle(descriptor))
    if _kernel().LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(place)):
        return True
    error = _last_error()
    if error in (_LOCK_VIOLATION, _IO_PENDING):
        return False
    if error in _UNSUPPORTED:
        return True
    raise _os_error(error)


def unlock(descriptor: int) -> None:
    """Drop the lock, if there is one."""
    import msvcrt

    system: Any = msvcrt
    place = _Overlapped(offset_high=_PLACE)
    _kernel().UnlockFileEx(ctypes.c_void_p(system.get_osfhandle(descriptor)), 0, 1, 0, ctypes.byref(place))


def _last_error() -> int:
    library: Any = ctypes
    return int(library.get_last_error())


def _os_error(number: int) -> OSError:
    library: Any = ctypes
    error: OSError = library.WinError(number)
    return error


def is_running(process: int) -> bool:
    """Whether there is a process of that number."""
    kernel = _kernel()
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_SYNCHRONIZE, 0, process)
    if not handle:
        return _last_error() == _ACCESS_DENIED
    try:
        return int(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0)) == _TIMEOUT
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def show_url(url: str, environ: Mapping[str, str]) -> bool:
    """Show a page as a double-click on a link does; False where that failed.

    The launcher has the runtime in a job that ends with it. A browser is to stay, so what starts it leaves the job.
    """
    system = environ.get("SystemRoot", r"C:\Windows")
    command = [rf"{system}\System32\rundll32.exe", "url.dll,FileProtocolHandler", url]
    quiet = subprocess.DEVNULL
    for flags in (_BREAKAWAY_FROM_JOB | _DETACHED, _DETACHED):  # some other job around us may not let go
        try:
            subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=dict(environ), creationflags=flags)
        except OSError:
            continue
        return True
    return False
