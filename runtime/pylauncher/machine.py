"""Which of a bundle's targets this machine is, and what it lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from solofile.runtime.errors import InputError

SYSTEMS = {"linux": "linux", "darwin": "macos", "windows": "windows"}
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


def this_machine() -> tuple[str, str]:
    """What the system calls itself and its processor. A Cosmopolitan Python tells that of the system it runs on."""
    if sys.platform == "win32":
        return "windows", os.environ.get("PROCESSOR_ARCHITECTURE", "")
    return os.uname().sysname, os.uname().machine


def target_of(system: str, machine: str, there: Iterable[str]) -> str:
    """The one of the targets ``there`` that this machine is. Raises InputError for none of them."""
    plain = system.lower()
    name = SYSTEMS.get("windows" if plain.startswith(("windows", "mingw", "cygwin")) else plain, plain)
    target = f"{name}-{MACHINES.get(machine.lower(), machine.lower())}"
    names = sorted(there)
    if target not in names:
        raise InputError(f"This file has no program for {target}, only for {', '.join(names)}: get one for it.")
    return target


def check_python() -> None:
    """Native libraries are loaded into this Python, so it has to be of their kind. Raises InputError."""
    if sys.maxsize < 1 << 32:
        raise InputError(f"{sys.executable} is a 32-bit Python: start this file with a 64-bit one.")
    if sys.platform == "linux" and not _has_glibc():
        raise InputError(
            f"{sys.executable} is not linked with glibc, which the bundle's libraries need: start it on a system with "
            "glibc, such as Debian, Ubuntu, Fedora or openSUSE, or in a container of one (Alpine and others with musl "
            "have none)."
        )


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False


def windows_path(path: str) -> str:
    """A path as a Cosmopolitan program says it on Windows (``/C/Users/…``), as other programs there do."""
    if len(path) > 2 and path[0] == "/" and path[1].isalpha() and path[2] == "/":
        return f"{path[1].upper()}:{path[2:]}".replace("/", "\\")
    return path
