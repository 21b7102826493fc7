"""What large files hash to, remembered, so that a second build of the same model need not read it to know.

<build cache>/hashes/<device>-<inode>.json

A file is known again by its device, inode, size, and the times of its last change and of the last change of its inode,
to the nanosecond. The last cannot be set by hand: writing to a file changes it, and so does setting the other one back.
It only counts in steps, however, of up to two seconds on some file systems, so that a file which was changed a moment
ago may change again and look the same: such a one is not remembered. Neither is one that is changed while it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.copying import Digests
from solofile.builder.errors import BuildError
from solofile.builder.output import replacing
from solofile.builder.paths import build_cache, cache_folder
from solofile.builder.tools import ProgressMaker

SETTLED_NS = 2_000_000_000
"""How long ago the last change has to be."""

SMALLEST = 1 << 20
"""Files below this are hashed faster than looked up."""

KEPT = 256
_CHUNK = 1 << 20

_is_sha256 = re.compile("[0-9a-f]{64}").fullmatch


class Look(NamedTuple):
    """A file as it is at one moment; ``settled`` says whether a later change would show."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    settled: bool

    @classmethod
    def at(cls, file: io.FileIO) -> Look:
        """Look at an open file."""
        now = time.time_ns()
        stat = os.fstat(file.fileno())
        settled = max(stat.st_mtime_ns, stat.st_ctime_ns) < now - SETTLED_NS
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, settled)

    def same(self, other: Look) -> bool:
        """Is it the same file, unchanged?"""
        return self[:5] == other[:5]


def recall(look: Look) -> Digests | None:
    """The digests of the file that looks so, if they are remembered."""
    if not look.settled or look.size < SMALLEST:
        return None
    try:
        entry = json.loads(_path(build_cache(), look).read_bytes())
        digests = Digests(entry["sha256"], entry["crc32"])
        sound = entry["check"] == _check(look, digests)
    except (OSError, BuildError, ValueError, LookupError, TypeError):  # no cache, or nothing of ours: hashed anew
        return None
    return digests if sound and _is_sha256(digests.sha256) else None


def remember(look: Look, digests: Digests) -> None:
    """Remember the digests of the file that looked so before it was read, and still does."""
    if not look.settled or look.size < SMALLEST:
        return
    entry = {**look._asdict(), "sha256": digests.sha256, "crc32": digests.crc, "check": _check(look, digests)}
    with contextlib.suppress(OSError, BuildError):  # a cache that cannot be written costs the next build time, no more
        folder = cache_folder("hashes")
        with replacing(_path(folder.parent, look)) as file:
            file.write(json.dumps(entry, indent=1).encode() + b"\n")
        _forget_oldest(folder)


def digest_of(path: Path, span: Span | None, progress: ProgressMaker) -> str:
    """The SHA-256 of a file, or of that ``span`` of it: remembered, or read now. Raises OSError."""
    with open_raw(path) as file:
        look = Look.at(file)
        known = recall(look) if span is None else None
        if known is not None:
            return known.sha256
        start, size = span or (0, look.size)
        file.seek(start)
        sha256, crc, done = hashlib.sha256(), 0, 0
        with progress(f"Reading {path.name}", size, "B") as shown:
            while done < size and (chunk := file.read(min(_CHUNK, size - done))):
                sha256.update(chunk)
                crc = zlib.crc32(chunk, crc)
                done += len(chunk)
                shown.update(done)
        if span is None and look.same(Look.at(file)):
            remember(look, Digests(sha256.hexdigest(), crc))
    return sha256.hexdigest()


def _path(cache: Path, look: Look) -> Path:
    return cache / "hashes" / f"{look.device:x}-{look.inode}.json"


def _check(look: Look, digests: Digests) -> str:
    """Over all of an entry, so that neither a damaged one nor one of another look of the file is taken."""
    return hashlib.sha256(repr((look[:5], tuple(digests))).encode()).hexdigest()


def _forget_oldest(folder: Path) -> None:
    entries = sorted(_times(folder), reverse=True)
    for _, path in entries[KEPT:]:
        path.unlink(missing_ok=True)


def _times(folder: Path) -> Iterator[tuple[float, Path]]:
    for path in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # another build has just removed it
            yield path.stat().st_mtime, path
