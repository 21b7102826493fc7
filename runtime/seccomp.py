"""seccomp: the system calls that this process may make, from now on and for good, on all of its threads at once.

The programs are compiled by libseccomp from the lists in builder/seccomp_lists.py and are a part of the source
(seccomp_programs.py): libseccomp itself is not on every system that a bundle runs on, and a build needs no more than a
bundle does. A test compiles them again where libseccomp is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

CPU, GPU = "cpu", "gpu"
"""What computes: a CPU alone needs no code that is made or loaded later, while drivers of GPUs compile all the time."""

OWN_PROCESS = 0x50_1D_F1_1E
"""Stands in the programs for the number of the process, which is known only here."""

_SET_FILTER, _TSYNC, _ACTION_AVAILABLE = 1, 1, 2
_ERRNO = 0x00050000
_NUMBERS = {"x86_64": 317, "aarch64": 277}

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def available() -> None:
    """OSError where the kernel has no such filters: ENOSYS, or EINVAL under an emulator."""
    action = struct.pack("=I", _ERRNO)
    _call(_ACTION_AVAILABLE, 0, action)


def program(profile: str, machine: str, process: int) -> bytes:
    """The instructions (struct sock_filter) for a process. KeyError where there are none for the machine."""
    from solofile.runtime import seccomp_programs

    code = bytes.fromhex(seccomp_programs.PROGRAMS[machine, profile])
    return code.replace(struct.pack("=I", OWN_PROCESS), struct.pack("=I", process))


def restrict(profile: str) -> None:
    """Restrict every thread of this process. OSError where that cannot be done; nothing is restricted then.

    With EPERM the process lacks PR_SET_NO_NEW_PRIVS. With a positive result the kernel names a thread that could not be
    made to follow, which is ESRCH here.
    """
    code = program(profile, platform.machine(), os.getpid())
    prog = _Program(len(code) // 8, code)
    if _call(_SET_FILTER, _TSYNC, ctypes.byref(prog)):
        raise OSError(errno.ESRCH, "a thread cannot follow")


def _call(*arguments: object) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    words = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno() or errno.EPERM
        raise OSError(code, os.strerror(code))
    return result
