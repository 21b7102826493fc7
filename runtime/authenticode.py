"""Where a signature that Windows looks for lies in a bundle: behind the archive, added after the bundle was built.

Whoever signs changes three fields in the launcher's header and appends a table of certificates, at a multiple of 8. So
the archive ends before the table, and the launcher is what was built if it is so without these fields (FORMAT.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

HEADER = 4096
"""Bytes of a file in which its headers are looked for."""

PADDING = 7
_PE64 = 0x20B
_CHECKSUM, _DIRECTORIES, _SECURITY = 64, 112, 4


class Table(NamedTuple):
    """The certificates: ``size`` bytes at ``offset``; ``checksum`` and ``entry`` are where the header's fields lie."""

    offset: int
    size: int
    checksum: int
    entry: int

    @property
    def fields(self) -> tuple[tuple[int, int], ...]:
        """What signing changes in the header: offset and length of each field, which are 0 in an unsigned file."""
        return (self.checksum, 4), (self.entry, 8)


def find(header: bytes, file_size: int) -> Table | None:
    """The table of a file by its first bytes; None where there is none, or where it does not end the file."""
    if not header.startswith(b"MZ") or len(header) < 64:
        return None
    start = struct.unpack_from("<I", header, 60)[0]
    optional = start + 24
    entry = optional + _DIRECTORIES + 8 * _SECURITY
    if entry + 8 > len(header) or header[start : start + 4] != b"PE\0\0":
        return None
    if struct.unpack_from("<H", header, optional)[0] != _PE64:
        return None
    offset, size = struct.unpack_from("<2I", header, entry)
    if not size or offset <= HEADER or offset + size != file_size:
        return None
    return Table(offset, size, optional + _CHECKSUM, entry)


def unsigned(table: Table, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The launcher's bytes as they were before the file was signed. The header lies in the first chunk."""
    first = True
    for chunk in chunks:
        if first:
            changed = bytearray(chunk)
            for offset, length in table.fields:
                changed[offset : offset + length] = bytes(length)
            yield bytes(changed)
        else:
            yield chunk
        first = False
