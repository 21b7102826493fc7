"""Copies a large file into the output once, hashing it on the way unless its digests are known.

SHA-256 is the slowest step by far, so it has a thread of its own, which nothing keeps waiting: the kernel moves the
bytes from file to file (sendfile), and both SHA-256 and CRC-32 are taken of the output's pages, mapped where they lie,
so that no byte is copied for them (hashlib, zlib and the system calls let go of the interpreter lock). What is hashed
is what was written, whatever happens to the source meanwhile. Where the file system can share blocks, nothing is
written at all. Memory: ``AHEAD + 2`` times ``CHUNK``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import queue
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CHUNK = 4 << 20
AHEAD = 4
"""Chunks that may wait to be hashed."""

BUFFER = 256 << 10
"""Bytes at a time where the kernel cannot move them."""

CLONE_BLOCK = 65_536
"""Clones are whole multiples of this: no file system in use has larger blocks."""

_FICLONERANGE = 0x4020940D
_MADV_POPULATE_READ = 22


class Digests(NamedTuple):
    """What the archive and the manifest say of a copied file."""

    sha256: str
    crc: int


class SourceFault(Exception):  # noqa: N818 - reads as what happened
    """The source could not be read to the size that it had at the start of the copy; the message is a clause."""


def copy_file(
    source: io.FileIO,
    size: int,
    output: io.FileIO,
    offset: int,
    on_bytes: Callable[[int], None],
    *,
    start: int = 0,
    known: Digests | None = None,
    recheck: bool = False,
) -> Digests:
    """Copy ``size`` bytes from ``start`` of ``source`` to ``offset`` of ``output``, opened for reading and writing.

    ``on_bytes`` is told the bytes done so far. Leaves ``output`` positioned behind the copy. Where the digests are
    ``known`` nothing is hashed; ``recheck`` has what cannot be cloned, and is read anyhow, compared with them. Raises
    SourceFault when the source fails, ends early or is not what is known of it, OSError when the output fails.
    """
    cloned = clone_range(source, output, offset, size, start)
    if known is not None and (cloned or not recheck):
        copy_plain(source, start + cloned, size - cloned, output, offset + cloned, lambda done: on_bytes(cloned + done))
        return known
    output.seek(offset + cloned)
    mover, hasher = _Mover(source, output), _Hasher()
    crc = done = 0
    try:
        while done < size:
            count = min(CHUNK, (cloned if done < cloned else size) - done)
            if done >= cloned:
                mover.fill(start + done, count)
            window = _Window(output, offset + done, count)
            crc = zlib.crc32(window.data, crc)
            hasher.put(window)
            done += count
            on_bytes(done)
    finally:
        sha256 = hasher.finish()
    if known not in (None, Digests(sha256, crc)):
        raise SourceFault("is not what was built")
    return Digests(sha256, crc)


def copy_plain(
    source: io.FileIO, start: int, size: int, output: io.FileIO, offset: int, on_bytes: Callable[[int], None]
) -> None:
    """Copy a range without hashing it; leaves ``output`` behind the copy. Raises as ``copy_file`` does."""
    output.seek(offset)
    mover = _Mover(source, output)
    done = 0
    while done < size:
        count = min(CHUNK, size - done)
        mover.fill(start + done, count)
        done += count
        on_bytes(done)


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


class _Mover:
    """Moves bytes of ``source`` to where ``output`` is: within the kernel, or through a buffer where that cannot be."""

    def __init__(self, source: io.FileIO, output: io.FileIO) -> None:
        self._source = source
        self._output = output
        self._buffer: memoryview | None = None

    def fill(self, start: int, size: int) -> None:
        """Move ``size`` bytes from ``start`` on. Raises SourceFault, OSError."""
        done = 0
        while done < size:
            if self._buffer is None and (count := move_inside(self._source, start + done, size - done, self._output)):
                done += count
                continue
            self._buffer = self._buffer or memoryview(bytearray(BUFFER))
            self._source.seek(start + done)
            count = _read_into(self._source, self._buffer[: size - done])
            write_all(self._output, self._buffer[:count])
            done += count


def move_inside(source: io.FileIO, start: int, size: int, output: io.FileIO) -> int:
    """Have the kernel move bytes from ``start`` of ``source``; how many, 0 where reading and writing has to be tried.

    Those then meet any real fault themselves, and can tell whose it is.
    """
    if not sys.platform.startswith("linux"):  # elsewhere sendfile takes sockets alone
        return 0
    try:
        return os.sendfile(output.fileno(), source.fileno(), start, size)
    except OSError:
        return 0


def _read_into(source: io.FileIO, buffer: memoryview) -> int:
    """Read what comes, one byte or more."""
    try:
        count = source.readinto(buffer)
    except OSError as error:
        raise SourceFault(f"cannot be read ({error.strerror})") from error
    if not count:
        raise SourceFault("became shorter while it was read")
    return count


class _Window:
    """Bytes of the output, mapped where they lie, or read where the file system cannot map them."""

    def __init__(self, output: io.FileIO, offset: int, size: int) -> None:
        before = offset % mmap.ALLOCATIONGRANULARITY
        self._map: mmap.mmap | None = None
        try:
            self._map = mmap.mmap(output.fileno(), before + size, access=mmap.ACCESS_READ, offset=offset - before)
        except OSError:
            self.data = _read_back(output, offset, size)
            return
        if sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):  # a kernel before 5.14: the pages come one by one
                self._map.madvise(_MADV_POPULATE_READ)
        self.data = memoryview(self._map)[before:]

    def close(self) -> None:
        """Let go of the bytes."""
        self.data.release()
        if self._map is not None:
            self._map.close()


def _read_back(output: io.FileIO, offset: int, size: int) -> memoryview:
    """Bytes of the output, whose position stays as it is."""
    position = output.tell()
    output.seek(offset)
    data = bytearray()
    while len(data) < size and (chunk := output.read(size - len(data))):
        data += chunk
    output.seek(position)
    return memoryview(data)


class _Hasher:
    """SHA-256 on a thread of its own."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._filled: queue.Queue[_Window | None] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def put(self, window: _Window) -> None:
        """Hash the next bytes; waits while there are enough to be hashed. The window is closed afterwards."""
        self._filled.put(window)

    def finish(self) -> str:
        """Wait for the thread; the SHA-256 in hex of all that was put."""
        self._filled.put(None)
        self._thread.join()
        return self._digest.hexdigest()

    def _run(self) -> None:
        while (window := self._filled.get()) is not None:
            self._digest.update(window.data)
            window.close()
