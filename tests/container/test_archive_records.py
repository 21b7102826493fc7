"""The records of the archive as bytes, ZIP64's fields among them."""

from __future__ import annotations

import struct

import pytest
from solofile.runtime.archive import (
    END_SIZE,
    ArchiveError,
    End,
    Member,
    check_path,
    directory_entry,
    end_records,
    local_header,
    parse_directory,
    parse_end,
)

LARGE = 0xFFFF_FFFF
MEMBER = Member("models/ü.gguf", 0, 0o644, 0x12345678, 1000, 1000, 500)


def read_back(members: list[Member]) -> tuple[Member, ...]:
    data = b"".join(map(directory_entry, members))
    return parse_directory(data, End(len(members), members[-1].end, len(data), b""))


def test_small_member_needs_no_zip64() -> None:
    header = local_header(MEMBER)
    assert header[:4] == b"PK\3\4"
    assert struct.unpack_from("<2I", header, 18) == (1000, 1000)
    assert struct.unpack_from("<2H", header, 26) == (len("models/ü.gguf".encode()), 0)
    assert MEMBER.data_offset == 500 + len(header)
    assert read_back([MEMBER]) == (MEMBER,)


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 1 << 40])
def test_sizes_go_to_zip64_from_the_limit_on(size: int) -> None:
    member = MEMBER._replace(stored=size, size=size)
    header, entry = local_header(member), directory_entry(member)
    if size < LARGE:
        assert struct.unpack_from("<2I", header, 18) == (size, size)
        assert len(entry) == 46 + len("models/ü.gguf".encode())
    else:
        assert struct.unpack_from("<2I", header, 18) == (LARGE, LARGE)
        assert header[-20:] == struct.pack("<2H2Q", 1, 16, size, size)
        assert entry[-20:] == struct.pack("<2H2Q", 1, 16, size, size)
    assert member.data_offset == 500 + len(header)
    assert read_back([member]) == (member,)


@pytest.mark.parametrize("offset", [LARGE - 1, LARGE, 1 << 40])
def test_offsets_go_to_zip64_from_the_limit_on(offset: int) -> None:
    member = MEMBER._replace(header_offset=offset)
    extra = directory_entry(member)[46 + len("models/ü.gguf".encode()) :]
    assert extra == (b"" if offset < LARGE else struct.pack("<2HQ", 1, 8, offset))
    assert len(local_header(member)) == 30 + len("models/ü.gguf".encode())
    assert read_back([member]) == (member,)


def test_large_sizes_and_a_large_offset_together() -> None:
    first = MEMBER._replace(stored=1 << 33, size=1 << 33)
    second = MEMBER._replace(path="models/b.gguf", header_offset=first.end, stored=1 << 34, size=1 << 34)
    third = MEMBER._replace(path="solofile.json", header_offset=second.end)
    assert directory_entry(second)[-28:] == struct.pack("<2H3Q", 1, 24, 1 << 34, 1 << 34, first.end)
    assert read_back([first, second, third]) == (first, second, third)


@pytest.mark.parametrize("offset", [1000, LARGE, 1 << 40])
def test_end_records(offset: int) -> None:
    end = End(70_000 if offset > 1000 else 3, offset, 2000, b"comment")
    tail = end_records(end)
    assert len(tail) == END_SIZE + 7
    assert struct.unpack_from("<I", tail, 76 + 16)[0] == min(offset, LARGE)
    assert struct.unpack_from("<H", tail, 76 + 10)[0] == min(end.entries, 0xFFFF)
    if end.entries == 3:
        assert parse_end(tail, offset + 2000 + len(tail)) == end


@pytest.mark.parametrize("position", range(END_SIZE))
def test_every_byte_of_the_end_records_counts(position: int) -> None:
    end = End(3, 1000, 2000, b"comment")
    tail = bytearray(end_records(end))
    tail[position] ^= 0x10
    with pytest.raises(ArchiveError):
        parse_end(bytes(tail), 3000 + len(tail))


def test_every_byte_of_a_directory_counts() -> None:
    """A flipped bit is refused, or read as what it says: never passed over."""
    good = directory_entry(MEMBER)
    for position in range(len(good)):
        entry = bytearray(good)
        entry[position] ^= 0x01
        try:
            members = parse_directory(bytes(entry), End(1, MEMBER.end, len(entry), b""))
        except ArchiveError:
            continue
        assert members != (MEMBER,), position


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "models/../../x",
        "models/./x",
        "models//x",
        "models/",
        "",
        "C:/x",
        "models\\x",
        "a\nb",
        "a\0b",
    ],
)
def test_unsafe_paths(path: str) -> None:
    with pytest.raises(ArchiveError, match="unsafe path"):
        check_path(path)


def test_odd_but_safe_paths() -> None:
    for path in ("models/.align-1", "runtime/x/..a/b..", "LICENSES/né.txt", "a b/c"):
        check_path(path)


def test_a_directory_of_nothing() -> None:
    with pytest.raises(ArchiveError, match="empty"):
        parse_directory(b"", End(0, 0, 0, b""))


def test_too_many_entries() -> None:
    tail = end_records(End(16_385, 1000, 2000, b""))
    with pytest.raises(ArchiveError, match="16385 entries"):
        parse_end(tail, 3000 + len(tail))
