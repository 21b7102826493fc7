"""One launcher for several systems: bytes that are a Windows program and a shell script at once.

    0x00   MZsolo='            the magic number of DOS programs, and an assignment that a shell reads to the next quote
    0x3C   0x80                where Windows finds the PE headers
    0x40   '                   the quote; padding; the beginning of a here-document that nobody reads
    0x80   PE headers          of the Windows launcher, its sections' places in the file moved
           the line that ends the here-document
           the script          runtime/launcher/universal.sh, which takes the launcher for its machine out of this file
           sections            of the Windows launcher
           launchers           of the other systems, each beginning at a multiple of 512 bytes, where dd can take them

The idea is that of Actually Portable Executable. Its own first bytes, ``MZqFpD='``, are
not used: where its loader is installed, the kernel hands every file with them to it, and this one is none of its kind.
Without a launcher for Windows the file begins with the line ``#!/bin/sh``.
The PE format: https://learn.microsoft.com/windows/win32/debug/pe-format
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from solofile.builder.errors import PackError

WINDOWS = "windows-"
MAGIC = b"MZsolo='\n"
PE_OFFSET = 0x80
MARK = b"SOLOFILE_PE"
BLOCK = 512
SCRIPT = "universal.sh"

SYSTEMS = {
    "linux-x86_64": ("Linux-x86_64", "Linux-amd64"),
    "linux-aarch64": ("Linux-aarch64", "Linux-arm64"),
    "macos-aarch64": ("Darwin-arm64",),
    "macos-x86_64": ("Darwin-x86_64",),
}
"""What ``uname -s`` and ``uname -m`` say on each target, with a ``-`` between."""


def polyglot(launchers: Mapping[str, bytes]) -> bytes:
    """One launcher out of those of several targets. Raises PackError for one that cannot be part of it."""
    windows = [target for target in sorted(launchers) if target.startswith(WINDOWS)]
    if len(windows) > 1:
        raise PackError(f"One file cannot start as {' and as '.join(windows)}: build it for one of them.")
    inner = {target: data for target, data in sorted(launchers.items()) if target not in windows}
    program = _Program(launchers[windows[0]]) if windows else None
    # The script names the places of the launchers, which lie behind it: a first try tells how long it is.
    start = _aligned(len(_before(program, inner, 10**9)) + 64)
    sections_end = start + (program.body_size if program else 0)
    before = _before(program, inner, _aligned(sections_end))
    result = bytearray(before.ljust(start, b"\n"))
    if program:
        headers = program.moved(start)
        result[PE_OFFSET : PE_OFFSET + len(headers)] = headers
        result += program.body
    for data in inner.values():
        result = result.ljust(_aligned(len(result)), b"\0")
        result += data
    return bytes(result)


def _before(program: _Program | None, inner: Mapping[str, bytes], first: int) -> bytes:
    """All that lies before the sections, the PE headers as they were."""
    script = _script(inner, first, windows=program is not None)
    if not program:
        return b"#!/bin/sh\n" + script
    head = MAGIC.ljust(0x3C, b"\0") + struct.pack("<I", PE_OFFSET)
    opening = b": <<'" + MARK + b"'\n"
    quote = b"'\n" + opening.rjust(PE_OFFSET - len(head) - 2)
    return head + quote + program.headers + b"\n" + MARK + b"\n" + script


def _script(inner: Mapping[str, bytes], first: int, *, windows: bool) -> bytes:
    """The script; ``first`` is the offset of the first launcher."""
    template = (files("solofile.runtime") / "launcher" / SCRIPT).read_text("utf-8")
    rows, offset = [], first
    for target, data in inner.items():
        sha256 = hashlib.sha256(data).hexdigest()
        rows.append(f"{' | '.join(SYSTEMS[target])}) block={offset // BLOCK} size={len(data)} sum={sha256} ;;")
        offset = _aligned(offset + len(data))
    names = [*inner, *(["Windows"] if windows else [])]
    return template.replace("@ROWS@", "\n".join(rows)).replace("@TARGETS@", ", ".join(names)).encode()


def _aligned(offset: int) -> int:
    return -(-offset // BLOCK) * BLOCK


@dataclass(frozen=True)
class _Section:
    header: int
    """Where its header lies, in the headers."""
    address: int
    size: int
    place: int
    """Where its bytes lie, in the file."""


class _Program:
    """A Windows launcher as zig links it. Raises PackError for what is none."""

    def __init__(self, data: bytes) -> None:
        try:
            self._parse(data)
        except struct.error as error:
            raise PackError("The launcher for Windows is cut short: delete its pack and build it again.") from error

    def _parse(self, data: bytes) -> None:
        start = _u32(data, 0x3C)
        if data[:2] != b"MZ" or data[start : start + 4] != b"PE\0\0" or _u16(data, start + 24) != 0x20B:
            raise PackError(
                "The launcher for Windows is no 64-bit Windows program: delete its pack and build it again."
            )
        sections_at = 24 + _u16(data, start + 20)
        count = _u16(data, start + 6)
        self.headers = data[start : start + sections_at + 40 * count]
        self._alignment = _u32(self.headers, 24 + 36)
        self._sections = [self._section(sections_at + 40 * index) for index in range(count)]
        self._check(data)
        self._old_start = min(one.place for one in self._sections if one.size)
        self.body = data[self._old_start :]

    def _section(self, at: int) -> _Section:
        return _Section(at, _u32(self.headers, at + 12), *struct.unpack_from("<II", self.headers, at + 16))

    def _check(self, data: bytes) -> None:
        if self._alignment > BLOCK or any(one.place % BLOCK for one in self._sections):
            raise PackError("The launcher for Windows is aligned otherwise than expected: build its pack again.")
        if _u32(self.headers, 12) or self._directory(4)[0]:
            raise PackError("A signed launcher, or one with symbols, cannot be part of a file for several systems.")
        if max(one.place + one.size for one in self._sections) != len(data):
            raise PackError("The launcher for Windows has bytes behind its sections: build its pack again.")

    def _directory(self, index: int) -> tuple[int, int]:
        address, size = struct.unpack_from("<II", self.headers, 24 + 112 + 8 * index)
        return address, size

    @property
    def body_size(self) -> int:
        """Bytes of all sections."""
        return len(self.body)

    def moved(self, start: int) -> bytes:
        """The headers for sections that begin at ``start``; moves what ``body`` says of places in the file as well."""
        headers, by = bytearray(self.headers), start - self._old_start
        first_address = min(one.address for one in self._sections)
        size = _aligned(PE_OFFSET + len(headers))
        if size > first_address:
            raise PackError("The launcher for Windows has too many sections to be part of a file for several systems.")
        struct.pack_into("<I", headers, 24 + 60, size)
        struct.pack_into("<I", headers, 24 + 64, 0)  # the checksum: of drivers alone
        for one in self._sections:
            if one.size:
                struct.pack_into("<I", headers, one.header + 20, one.place + by)
        self.body = self._moved_debug(by)
        return bytes(headers)

    def _moved_debug(self, by: int) -> bytes:
        """The sections, with the debug directory's places in the file moved."""
        address, size = self._directory(6)
        body = bytearray(self.body)
        for entry in range(address, address + size, 28):
            at = self._place_of(entry) - self._old_start
            place = _u32(body, at + 24)
            if place:
                struct.pack_into("<I", body, at + 24, place + by)
        return bytes(body)

    def _place_of(self, address: int) -> int:
        for one in self._sections:
            if one.address <= address < one.address + one.size:
                return one.place + address - one.address
        raise PackError("The launcher for Windows has a debug directory outside its sections: build its pack again.")


def _u16(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<H", data, at)[0])


def _u32(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])
