"""The sandbox of macOS: a profile of sandbox_init(3), which holds for all threads from then on.

Apple calls the function deprecated and goes on using it (as do browsers): there is no other for a program outside an
application bundle. Its language is that of the files in /System/Library/Sandbox/Profiles.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.sandbox_needs import Needs

SYSTEM = ("/System", "/usr/lib", "/usr/share", "/Library/Apple", "/private/etc/localtime", "/private/var/db/timezone",
          "/private/etc/ssl/openssl.cnf", "/dev/urandom", "/dev/random", "/dev/zero")  # fmt: skip

_GPU = ("(allow iokit-open)", "(allow mach-lookup)")
"""Metal compiles in another process and talks to it."""


def profile(needs: Needs) -> str:
    """The whole of it: nothing but what is allowed."""
    return "\n".join(_lines(needs)) + "\n"


def _lines(needs: Needs) -> Iterator[str]:
    yield "(version 1)"
    yield "(deny default)"
    yield "(allow process-info* (target self))"
    yield "(allow signal (target self))"
    yield "(allow sysctl-read)"
    yield "(allow file-read-metadata)"
    yield from (f"(allow file-read* {_below(path)})" for path in (*SYSTEM, *needs.read))
    yield from (f"(allow file-read* file-write-data {_literal(path)})" for path in needs.write)
    yield from (f"(allow file-read* file-write* {_below(path)})" for path in needs.make)
    yield from (f'(allow network-outbound (remote tcp "*:{port}"))' for port in needs.ports)
    yield '(allow network-inbound (local tcp "*:*"))'  # what listens already accepts
    if needs.gpu:
        yield from _GPU


def _below(path: str) -> str:
    return f"(subpath {_quoted(path)})"


def _literal(path: str) -> str:
    return f"(literal {_quoted(path)})"


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def enter(needs: Needs) -> str:
    """Step 1; returns why there is no sandbox, or nothing."""
    if sys.platform != "darwin":
        raise OSError("this is not macOS")
    library = ctypes.CDLL("/usr/lib/libsandbox.1.dylib")
    library.sandbox_init.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p)]
    error = ctypes.c_char_p()
    if not library.sandbox_init(profile(needs).encode(), 0, ctypes.byref(error)):
        return ""
    said = (error.value or b"").decode("utf-8", "replace").strip()
    return f"macOS refuses the sandbox ({said})"


def seal(*, gpu: bool) -> str:  # noqa: ARG001 - all systems are asked alike
    """Step 2: the first one starts no programs already."""
    return ""


def level() -> int:
    """There is no Landlock here."""
    return 0


def trial(_needs: Needs) -> tuple[str, str]:
    """What a start would come to."""
    return "", ""
