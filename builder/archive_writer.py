"""Writes the archive of FORMAT.md behind whatever is in the file already: one member after another, then the directory.

The output is a raw file opened for reading and writing. The header of a streamed member is written last, once its
CRC-32 is known.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from solofile.builder.copying import Digests, copy_file, write_all
from solofile.runtime.archive import (
    ALIGNMENT,
    DEFLATED,
    END_SIZE,
    EPOCH_1980,
    STORED,
    End,
    Member,
    check_path,
    directory_entry,
    end_records,
    header_size,
    local_header,
    total_size,
)
from solofile.runtime.layout import PADDING_PREFIX
from solofile.runtime.manifest import Part


class Span(NamedTuple):
    """Some bytes of a file."""

    start: int
    size: int


class ArchiveWriter:
    """Appends members to ``output``; ``parts`` says for each what the manifest will."""

    def __init__(self, output: io.FileIO, *, stamp: int = EPOCH_1980) -> None:
        self._output = output
        self._stamp = stamp
        self._paddings = 0
        self.members: list[Member] = []
        self.parts: list[Part] = []
        self.position = output.tell()
        self._packed = hashlib.sha256()

    @property
    def packed(self) -> str:
        """The SHA-256 over the deflated members so far, as they are stored."""
        return self._packed.hexdigest()

    def add_bytes(self, path: str, data: bytes, *, mode: int = 0o644) -> Part:
        """Add a small member, STORED: what a build itself adds does not depend on the zlib it runs with."""
        member = self._member(path, STORED, mode, zlib.crc32(data), len(data), len(data))
        write_all(self._output, local_header(member))
        write_all(self._output, data)
        return self._added(member, hashlib.sha256(data).hexdigest())

    def add_raw(self, like: Member, sha256: str, chunks: Iterable[bytes]) -> Part:
        """Add a member as it lies in another archive: ``like`` gives its facts, ``chunks`` its stored bytes."""
        member = like._replace(header_offset=self.position, stamp=self._stamp)
        write_all(self._output, local_header(member))
        for chunk in chunks:
            write_all(self._output, chunk)
            if member.method != STORED:
                self._packed.update(chunk)
        return self._added(member, sha256)

    def add_file(
        self,
        path: str,
        source: io.FileIO,
        on_bytes: Callable[[int], None],
        *,
        mode: int = 0o644,
        span: Span | None = None,
        known: Digests | None = None,
        recheck: bool = False,
    ) -> Part:
        """Stream an open file, or ``span`` of it, into a STORED member.

        ``known`` and ``recheck`` are those of ``copy_file``. Raises SourceFault, OSError.
        """
        start, size = span or Span(0, os.fstat(source.fileno()).st_size)
        member = self._member(path, STORED, mode, 0, size, size)
        digests = copy_file(
            source, size, self._output, member.data_offset, on_bytes, start=start, known=known, recheck=recheck
        )
        member = member._replace(crc=digests.crc)
        self._output.seek(member.header_offset)
        write_all(self._output, local_header(member))
        self._output.seek(member.end)
        return self._added(member, digests.sha256)

    def align_data(self, path: str, size: int, *, apart: bool = False) -> None:
        """Pad so that the data of the member ``path`` of ``size`` bytes, added next, begins at an aligned offset.

        ``apart`` keeps its header out of the last block of what lies before, so that reading one touches no page of the
        other.
        """
        header = header_size(path, size, size)
        earliest = aligned(self.position) if apart else self.position
        self._pad_to(aligned(earliest + header) - header)

    def align_header(self) -> None:
        """Pad so that the header of the member added next begins at an aligned offset."""
        self._pad_to(aligned(self.position))

    def resume(self, members: Iterable[Member]) -> None:
        """Go on behind ``members``, which lie in the output already."""
        self.members.extend(members)
        self._paddings = sum(member.path.startswith(PADDING_PREFIX) for member in self.members)

    def end_with(self, path: str, size: int, comment: int) -> int:
        """Where the file would end if ``add_bytes`` took a last member of ``size`` bytes, and ``finish`` a comment."""
        member = self._member(path, STORED, 0o644, 0, size, size)
        return member.end + total_size([*self.members, member]) + END_SIZE + comment

    def finish(self, comment: Callable[[bytes], bytes], behind: bytes = b"") -> None:
        """Write the directory, the end records, and what lies ``behind``.

        ``comment`` makes the comment out of the directory's bytes.
        """
        directory = b"".join(map(directory_entry, self.members))
        end = End(len(self.members), self.position, len(directory), comment(directory))
        write_all(self._output, directory)
        write_all(self._output, end_records(end))
        write_all(self._output, behind)

    def _pad_to(self, target: int) -> None:
        if target == self.position:
            return
        path = f"{PADDING_PREFIX}{self._paddings + 1}"
        gap = target - self.position - header_size(path, 0, 0)
        if gap < 0:
            gap += ALIGNMENT
        self._paddings += 1
        self.add_bytes(path, bytes(gap))

    def _member(self, path: str, method: int, mode: int, crc: int, stored: int, size: int) -> Member:
        check_path(path)
        return Member(path, method, mode, crc, stored, size, self.position, self._stamp)

    def _added(self, member: Member, sha256: str) -> Part:
        part = Part(member.path, member.data_offset, member.size, member.stored, sha256)
        self.members.append(member)
        self.parts.append(part)
        self.position = member.end
        return part


def aligned(offset: int) -> int:
    """The first multiple of the alignment that is not below ``offset``."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def deflate(data: bytes) -> bytes:
    """``data`` as the member of an archive holds it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def deflated_member(path: str, data: bytes, stored: bytes, mode: int) -> Member:
    """The facts of a member whose bytes ``deflate`` has made; its place comes when it is added."""
    return Member(path, DEFLATED, mode, zlib.crc32(data), len(stored), len(data), 0)


def stamp_of(epoch: str | None) -> int:
    """The time stamp of every member: SOURCE_DATE_EPOCH in seconds (UTC), or 1980-01-01. Raises ValueError."""
    if not epoch:
        return EPOCH_1980
    moment = time.gmtime(int(epoch))
    if moment.tm_year < 1980:
        return EPOCH_1980
    if moment.tm_year > 2107:
        raise ValueError(f"SOURCE_DATE_EPOCH={epoch} lies behind the year 2107")
    date = (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday
    return date << 16 | moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2


def open_raw(path: Path) -> io.FileIO:
    """Open a file for reading without a buffer between."""
    return io.FileIO(path, "rb")
