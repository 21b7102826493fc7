"""The ZIP64 archive that lies behind the launcher, in its one canonical form (FORMAT.md): records as bytes, and back.

Decoding is strict by re-encoding: whatever does not encode to the very same bytes (an extra field, a flag, a comment, a
disk number, a data descriptor) is refused, so that nothing can hide in a field that readers pass over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

STORED = 0
DEFLATED = 8

ALIGNMENT = 65_536
"""Model data begins at a multiple of this: the largest page in use, and the granularity of Windows' mappings."""

MAX_MEMBERS = 16_384
MAX_DIRECTORY = 4 << 20
EPOCH_1980 = 0x0021 << 16
"""1980-01-01 00:00:00 as ZIP stamps it: the date in the upper 16 bits, the time in the lower."""

_LIMIT_32 = 0xFFFF_FFFF
_LIMIT_16 = 0xFFFF
_VERSION = 45
_UTF8 = 0x800
_UNIX = 3 << 8 | _VERSION
_REGULAR = 0o100000

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
END_SIZE = _END64.size + _LOCATOR.size + _END.size
"""Bytes of the three end records, without the comment."""


class ArchiveError(ValueError):
    """Bytes that are not the canonical form; the message is a clause that says what is wrong."""


class Member(NamedTuple):
    """One file of the archive: everything that its two headers say."""

    path: str
    method: int
    mode: int
    crc: int
    stored: int
    size: int
    header_offset: int
    stamp: int = EPOCH_1980

    @property
    def data_offset(self) -> int:
        """Offset of the first stored byte, from the start of the file."""
        return self.header_offset + header_size(self.path, self.stored, self.size)

    @property
    def end(self) -> int:
        """Offset behind the last stored byte."""
        return self.data_offset + self.stored


class End(NamedTuple):
    """What the end records say."""

    entries: int
    directory_offset: int
    directory_size: int
    comment: bytes


def header_size(path: str, stored: int, size: int) -> int:
    """Bytes of the local header of such a member."""
    length = len(path) if path.isascii() else len(path.encode())
    return _LOCAL.size + length + (20 if _is_large(stored, size) else 0)


def local_header(member: Member) -> bytes:
    """The local file header; the data follows it without a gap."""
    name, large = member.path.encode(), _is_large(member.stored, member.size)
    extra = struct.pack("<2H2Q", 1, 16, member.size, member.stored) if large else b""
    stored, size = (_LIMIT_32, _LIMIT_32) if large else (member.stored, member.size)
    time, date = member.stamp & _LIMIT_16, member.stamp >> 16
    fixed = _LOCAL.pack(
        b"PK\3\4", _VERSION, _UTF8, member.method, time, date, member.crc, stored, size, len(name), len(extra)
    )
    return fixed + name + extra


def directory_entry(member: Member) -> bytes:
    """The entry of the central directory."""
    name = member.path.encode()
    stored, size, offset, extra = member.stored, member.size, member.header_offset, b""
    if _is_large(stored, size):
        extra, stored, size = struct.pack("<2Q", size, stored), _LIMIT_32, _LIMIT_32
    if offset >= _LIMIT_32:
        extra, offset = extra + struct.pack("<Q", offset), _LIMIT_32
    if extra:
        extra = struct.pack("<2H", 1, len(extra)) + extra
    fixed = _CENTRAL.pack(
        b"PK\1\2", _UNIX, _VERSION, _UTF8, member.method, member.stamp & _LIMIT_16, member.stamp >> 16, member.crc,
        stored, size, len(name), len(extra), 0, 0, 0, (_REGULAR | member.mode) << 16, offset,
    )  # fmt: skip
    return fixed + name + extra


def end_records(end: End) -> bytes:
    """The ZIP64 end record, its locator and the classic end record with the comment."""
    count, size, offset = end.entries, end.directory_size, end.directory_offset
    end64 = _END64.pack(b"PK\6\6", _END64.size - 12, _UNIX, _VERSION, 0, 0, count, count, size, offset)
    locator = _LOCATOR.pack(b"PK\6\7", 0, offset + size, 1)
    few = min(count, _LIMIT_16)
    classic = _END.pack(b"PK\5\6", 0, 0, few, few, min(size, _LIMIT_32), min(offset, _LIMIT_32), len(end.comment))
    return end64 + locator + classic + end.comment


def parse_end(tail: bytes, file_size: int) -> End:
    """The end records out of ``tail``, the last ``END_SIZE`` and comment's length bytes of a file of ``file_size``."""
    if len(tail) < END_SIZE or not tail.startswith(b"PK\6\6"):
        raise ArchiveError("it does not end with an end record, so it was cut short or is something else")
    _, _, _, _, _, _, count, _, size, offset = _END64.unpack_from(tail)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise ArchiveError(f"its directory claims {count} entries in {size} bytes, more than there can be")
    end = End(count, offset, size, tail[END_SIZE:])
    if offset + size != file_size - len(tail):
        raise ArchiveError("its end record and its length disagree, so bytes are missing or were added")
    if end_records(end) != tail:
        raise ArchiveError("its end record was changed")
    return end


def parse_directory(data: bytes, end: End) -> tuple[Member, ...]:
    """The members in file order, none of them outside, overlapping or apart from its neighbours."""
    try:
        members = _parse_entries(data, end.entries)
    except (struct.error, UnicodeDecodeError) as error:
        raise ArchiveError("its directory was changed") from error
    if b"".join(map(directory_entry, members)) != data:
        raise ArchiveError("its directory holds what a builder does not write")
    _check_names(members)
    _check_places(members, end.directory_offset)
    return tuple(members)


def check_path(path: str) -> None:
    """Refuse a member path that could leave the folder that it is unpacked to, or that not every system can name."""
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\\" in path or ":" in path or not path.isprintable():
        raise ArchiveError(f"its directory holds the unsafe path {path!r}")


def total_size(members: Iterable[Member]) -> int:
    """Bytes of the central directory of ``members``."""
    return sum(len(directory_entry(member)) for member in members)


def _is_large(stored: int, size: int) -> bool:
    return stored >= _LIMIT_32 or size >= _LIMIT_32


def _parse_entries(data: bytes, entries: int) -> list[Member]:
    """The entries of the directory, not yet checked: one loop and no calls, since every start does this."""
    members = []
    unpack, fixed, position = _CENTRAL.unpack_from, _CENTRAL.size, 0
    for _ in range(entries):
        (
            _, _, _, _, method, time, date, crc, stored, size, name_length, extra_length, _, _, _, attributes, offset
        ) = unpack(data, position)  # fmt: skip
        start = position + fixed
        position = start + name_length
        path = data[start:position].decode()
        if extra_length:
            values = struct.unpack_from(f"<{(extra_length - 4) // 8}Q", data, position + 4)
            if size == _LIMIT_32 and len(values) >= 2:
                size, stored, values = values[0], values[1], values[2:]
            if offset == _LIMIT_32 and values:
                offset = values[0]
            position += extra_length
        mode, stamp = attributes >> 16 & 0o7777, date << 16 | time
        members.append(Member._make((path, method, mode, crc, stored, size, offset, stamp)))
    return members


def _check_names(members: Sequence[Member]) -> None:
    seen = set()
    for member in members:
        check_path(member.path)
        if member.path in seen:
            raise ArchiveError(f"its directory names {member.path} twice")
        seen.add(member.path)


def _check_places(members: Sequence[Member], directory_offset: int) -> None:
    if not members:
        raise ArchiveError("its directory is empty")
    position = members[0].header_offset
    for member in members:
        if member.header_offset != position:
            word = "overlaps" if member.header_offset < position else "leaves a gap behind"
            raise ArchiveError(f"{member.path} {word} the part before it")
        if member.method not in (STORED, DEFLATED) or (member.method == STORED and member.stored != member.size):
            raise ArchiveError(f"{member.path} is stored in a way that a builder does not write")
        position += header_size(member.path, member.stored, member.size) + member.stored
    if position != directory_offset:
        raise ArchiveError("the last part does not end where the directory begins")
