"""Machines as files: what hardware detection reads of ``/proc`` and ``/sys``, one text a machine in ``machines/``.

``python tests/runtime/machine_files.py NAME`` records the machine that it runs on. A line is one of

    # what this machine is
    path = content            a file of one line
    path:                     a file of the lines that follow, each with a bar before it
    |content
    path -> target            a link
    path << 10000000…         a file of bytes, in hexadecimal
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MACHINES = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in MACHINES.glob("*.txt"))


def unpack(name: str, folder: Path, **changes: str) -> str:
    """Write a machine's files below ``folder``, which stands for ``/`` then; ``changes`` are files in their place, with
    ``__`` for ``/``."""
    lines = (MACHINES / f"{name}.txt").read_text("utf-8").splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line or line.startswith("#"):
            continue
        if line.endswith(":"):
            end = position
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            text = "".join(f"{row[1:]}\n" for row in lines[position:end])
            write(folder, line[:-1], text.encode())
            position = end
            continue
        path, sign, content = line.split(" ", 2)
        if sign == "->":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(content)
        else:
            assert sign in ("=", "<<"), line
            write(folder, path, bytes.fromhex(content) if sign == "<<" else f"{content}\n".encode())
    for path, content in changes.items():
        write(folder, path.replace("__", "/"), content.encode())
    return str(folder)


def write(folder: Path, path: str, content: bytes) -> None:
    """Make a file and the folders above it."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@contextlib.contextmanager
def watched(name: str, seen: Callable[[str], object]) -> Iterator[None]:
    """Tell ``seen`` each path that a function of ``os`` is called with."""
    real: Callable[..., Any] = getattr(os, name)

    def spy(path: str, *more: Any) -> Any:
        seen(os.fspath(path))
        return real(path, *more)

    setattr(os, name, spy)
    try:
        yield
    finally:
        setattr(os, name, real)


def record() -> str:
    """What detection reads here, without what tells more of a machine than its hardware."""
    from solofile.runtime import hardware

    files: dict[str, None] = {"/proc/self/status": None}
    links: dict[str, None] = {}
    asked: dict[str, None] = {}
    with watched("open", files.setdefault), watched("readlink", links.setdefault), watched("stat", asked.setdefault):
        hardware.detect()
    lines = [f"{path[1:]} -> {Path(path).readlink()}" for path in links if Path(path).is_symlink()]
    for path in files:
        if path.startswith(("/proc/", "/sys/")) and Path(path).exists():
            lines += _file(path, Path(path).read_bytes())
    lines += [f"{path[1:]}:" for path in asked if path.endswith("/cgroup.procs") and Path(path).exists()]
    return "\n".join(lines) + "\n"


def _file(path: str, data: bytes) -> list[str]:
    if path.endswith("/auxv"):
        return [f"{path[1:]} << {data.hex()}"]
    rows = data.decode("utf-8", "replace").splitlines()
    if path.endswith("/mountinfo"):
        rows = [row for row in rows if " - cgroup" in row]
    elif path.endswith("/status"):
        rows = [row for row in rows if "allowed_list" in row]
    elif path.endswith("/cpuinfo") and rows and "vendor_id" in "".join(rows):
        rows = rows[: rows.index("") + 1]
    return [f"{path[1:]} = {rows[0]}"] if len(rows) == 1 else [f"{path[1:]}:", *(f"|{row}" for row in rows)]


if __name__ == "__main__":
    (MACHINES / f"{sys.argv[1]}.txt").write_text(record(), "utf-8")
