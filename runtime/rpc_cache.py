"""The weights that a worker was sent, kept for the next time: ``cache/rpc/``, a file each, named by their hash.

ggml's RPC server reads and writes them. Each is checked before it is used (native/rpc/cached.cpp) and dated by that;
here the oldest make room between two clients.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from solofile.runtime.cache import RPC

SHARE = 0.5
"""Of the disk's free space, with what is in the folder already, so much at most may be the folder's."""


def folder_of(cache: Path) -> Path | None:
    """The folder, made where it is missing; None where there is none that ggml could use."""
    folder = cache / RPC
    if os.name == "nt" and not str(folder).isascii():
        return None  # ggml takes it as a path in the system's code page
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


def make_room(folder: Path) -> int:
    """Remove the files used longest ago until the rest is within its share of the disk; how many were removed."""
    files = sorted(_files(folder))
    total = sum(size for _, size, _ in files)
    try:
        left = int((shutil.disk_usage(folder).free + total) * SHARE)
    except OSError:
        return 0
    removed = 0
    for _, size, path in files:
        if total <= left:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
            removed += 1
    return removed


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                stat = entry.stat(follow_symlinks=False)
                found.append((stat.st_mtime, stat.st_size, Path(entry.path)))
    return found
