"""Landlock: what this process may do with files, TCP ports, signals and sockets, from now on and for good.

It is the kernel's (Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h) and needs no rights. Its
three system calls are called through ctypes: the bindings on PyPI are first attempts (a ``.dev`` release of 2025, and
versions below 1 with no releases since), and what is needed of them is this page.

What a kernel knows is its ABI level; what a later one brought is left out where it is not there:

    1  Linux 5.13   files: read, write, make, remove, run
    2  Linux 5.19   rename and link between folders (level 1 refuses it always)
    3  Linux 6.2    truncate
    4  Linux 6.7    TCP: bind, connect
    5  Linux 6.10   ioctl on devices
    6  Linux 6.12   signals to, and abstract Unix sockets of, processes outside
    7  Linux 6.15   what of it is logged

A restriction holds for the thread that asks for it and for all threads and processes that it starts afterwards.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES = 3

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE
"""Of a file that is there, or of the files in a folder."""
MAKE = WRITE | MAKE_REG | MAKE_DIR | REMOVE_FILE
"""Of a folder: files come and go in it."""
DEVICE = WRITE_FILE | READ | IOCTL_DEV

_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


class Rule(NamedTuple):
    """What is allowed below a path; ``kept``: it stays open, so that the kernel keeps what it knows of it (/proc)."""

    path: str
    access: int
    kept: bool = False


def abi() -> int:
    """The level that this kernel has. OSError where there is none: ENOSYS for a kernel without it (or a container that
    hides it), EOPNOTSUPP where it was not turned on at boot."""
    return _call(_CREATE, None, 0, _VERSION)


def handled(level: int) -> tuple[int, int, int]:
    """What can be restricted at this level: (files, TCP, scopes), as the kernel numbers it."""
    files = (1 << 13) - 1
    files |= (REFER if level >= 2 else 0) | (TRUNCATE if level >= 3 else 0) | (IOCTL_DEV if level >= 5 else 0)
    return files, _BIND_TCP | _CONNECT_TCP if level >= 4 else 0, _SCOPES if level >= 6 else 0


def restrict(rules: Iterable[Rule], ports: Iterable[int] = ()) -> int:
    """Allow these paths, and TCP connections to these ``ports``, and nothing else of what the kernel can restrict.

    Returns the level. A path that is not there allows nothing. OSError where it cannot be done.
    """
    level = abi()
    files, network, scopes = handled(level)
    size = 24 if level >= 6 else 16 if level >= 4 else 8
    attributes = struct.pack("=QQQ", files, network, scopes)[:size]
    ruleset = _call(_CREATE, attributes, size, 0)
    try:
        for rule in rules:
            _allow(ruleset, rule, files)
        for port in ports if network else ():
            _call(_ADD, ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)
        set_no_new_privileges()
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return level


def set_no_new_privileges() -> None:
    """No program that this process starts gets more rights than it has (setuid): what Landlock and seccomp ask for."""
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _error()


def _allow(ruleset: int, rule: Rule, files: int) -> None:
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = rule.access & files
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _OF_FILES  # the kernel refuses those of folders
        _call(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        if not rule.kept:
            os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno() or errno.EPERM
    return OSError(number, os.strerror(number))
