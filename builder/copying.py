"""Copies a large file into the output once, hashing it on the way.

SHA-256 is the slowest step by far, so it has a thread of its own; reading, CRC-32 and writing share the other one and
stay ahead of it (hashlib and zlib let go of the interpreter lock). Where the file system can share blocks, nothing is
written at all. Memory: ``BUFFERS`` times ``CHUNK``.
"""

from __future__ import annotations

import hashlib
import io
import queue
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CHUNK = 256 << 10
BUFFERS = 32
CLONE_BLOCK = 65_536
"""Clones are whole multiples of this: no file system in use has larger blocks."""

_FICLONERANGE = 0x4020940D


class Digests(NamedTuple):
    """What the archive and the manifest say of a copied file."""

    sha256: str
    crc: int


class SourceFault(Exception):  # noqa: N818 - reads as what happened
    """The source could not be read to the size that it had at the start of the copy; the message is a clause."""


def copy_file(
    source: io.FileIO, size: int, output: io.FileIO, offset: int, on_bytes: Callable[[int], None], *, start: int = 0
) -> Digests:
    """Copy ``size`` bytes at ``start`` of ``source`` to ``offset`` of ``output``, opened for reading and writing.

    ``on_bytes`` is told the bytes done so far. Leaves ``output`` positioned behind the copy. Raises SourceFault when
    the source fails or ends early, OSError when the output fails.
    """
    cloned = clone_range(source, output, offset, size, start)
    output.seek(offset)
    hasher = _Hasher()
    crc = done = 0
    try:
        while done < size:
            # What was cloned is hashed as it lies in the output: a source written to meanwhile changes nothing there.
            reader, limit = (output, cloned) if done < cloned else (source, size)
            if done == cloned:
                source.seek(start + done)
            chunk = hasher.read(reader, limit - done)
            crc = zlib.crc32(chunk, crc)
            if reader is source:
                write_all(output, chunk)
            done += len(chunk)
            on_bytes(done)
    finally:
        sha256 = hasher.finish()
    return Digests(sha256, crc)


def clone_range(source: io.FileIO, output: io.FileIO, offset: int, size: int, start: int = 0) -> int:
    """Share the blocks of ``source`` from ``start`` with ``output`` at ``offset``; how many bytes, 0 if it cannot be.

    The tail that does not fill a block is left to be copied.
    """
    length = size - size % CLONE_BLOCK
    if not sys.platform.startswith("linux") or length == 0 or offset % CLONE_BLOCK or start % CLONE_BLOCK:
        return 0
    import fcntl

    request = struct.pack("<qQQQ", source.fileno(), start, length, offset)
    try:
        fcntl.ioctl(output.fileno(), _FICLONERANGE, request)
    except OSError:
        # Other file systems answer with one of half a dozen codes. The copy that follows meets any real fault itself.
        return 0
    return length


def can_clone(source: Path, folder: Path) -> bool:
    """Can the file system share the blocks of ``source`` with a file in ``folder``? Tries it with the first ones."""
    try:
        with source.open("rb", buffering=0) as file, tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            return isinstance(probe, io.FileIO) and clone_range(file, probe, 0, CLONE_BLOCK) > 0
    except OSError:
        return False


def write_all(output: io.RawIOBase, data: bytes | memoryview) -> None:
    """Write the whole of ``data``; a raw file may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[output.write(view) or 0 :]


class _Hasher:
    """SHA-256 on a thread of its own, over buffers that are filled again once they are hashed."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(CHUNK)))
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def read(self, source: io.FileIO, limit: int) -> memoryview:
        """The next bytes of ``source``, at most ``limit``: being hashed already, valid until the next call."""
        buffer = self._free.get()
        try:
            count = source.readinto(buffer[:limit])
        except OSError as error:
            raise SourceFault(f"cannot be read ({error.strerror})") from error
        if not count:
            raise SourceFault("became shorter while it was read")
        self._filled.put((buffer, count))
        return buffer[:count]

    def finish(self) -> str:
        """Wait for the thread; the SHA-256 in hex of all that was read."""
        self._filled.put(None)
        self._thread.join()
        return self._digest.hexdigest()

    def _run(self) -> None:
        while (filled := self._filled.get()) is not None:
            buffer, count = filled
            self._digest.update(buffer[:count])
            self._free.put(buffer)
