"""Lets the kernel run programs for 64-bit ARM here, by QEMU: what such a program starts runs then as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path("/proc/sys/fs/binfmt_misc")
NAME = "qemu-aarch64"
SYSTEM = Path("/usr/aarch64-linux-gnu")
"""The C library for such programs (Debian's package libc6-arm64-cross)."""

_MAGIC = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
_MASK = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"


def register() -> str:
    """Have the kernel know ARM programs; why that cannot be, or nothing. It stays so until the machine restarts."""
    qemu = shutil.which("qemu-aarch64-static")
    if not qemu or not (SYSTEM / "lib" / "ld-linux-aarch64.so.1").exists():
        return "needs the Debian packages qemu-user-static and libc6-arm64-cross"
    if (FOLDER / NAME).exists():
        return ""
    if os.geteuid():
        return "root alone can register QEMU with binfmt_misc"
    if not (FOLDER / "register").exists():
        mount = ["mount", "-t", "binfmt_misc", "none", str(FOLDER)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return "this kernel has no binfmt_misc"
    try:
        # F: QEMU is opened now, for programs in other roots too; O, C, P: the program is handed over with its own name.
        (FOLDER / "register").write_bytes(f":{NAME}:M::{_hex(_MAGIC)}:{_hex(_MASK)}:{qemu}:OCPF".encode())
    except OSError as error:
        return f"binfmt_misc takes no registration ({error.strerror})"
    return ""


def _hex(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)
