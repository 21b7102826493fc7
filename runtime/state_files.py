"""The small JSON files in the cache's state/: read without following links, replaced by rename, a bounded number."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file; OSError for what cannot be read, a link or a pipe that nobody writes to."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def write(path: Path, document: Mapping[str, Any], *, kind: str, kept: int) -> None:
    """Replace the file, for this user alone; of its ``kind`` (a pattern) no more than ``kept`` stay, the newest.

    Raises OSError where that cannot be, and ValueError for numbers that JSON has no word for.
    """
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    if not path.exists():
        _remove_oldest(path.parent, kind, kept)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            json.dump(document, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_oldest(folder: Path, kind: str, kept: int) -> None:
    """What none has written to for longest goes, so that there is room for one more."""
    found = sorted(folder.glob(kind), key=lambda one: one.stat().st_mtime)
    for path in found[: max(0, len(found) - kept + 1)]:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
