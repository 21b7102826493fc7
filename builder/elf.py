"""What an ELF file needs of the system that loads it: the newest glibc, and the libraries.

Only the little of the format that answers this is read (System V ABI, and the GNU extension for symbol versions: the
section ``.gnu.version_r``, found by way of the dynamic segment, since a stripped file may have lost its section table).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_VERNEED, _DT_VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


class ElfError(ValueError):
    """A file that is no 64-bit little-endian ELF, or whose tables point outside it."""


@dataclass(frozen=True)
class Needs:
    """The libraries that a file is linked with, and the symbol versions that it asks of each."""

    libraries: tuple[str, ...]
    versions: frozenset[str]

    @property
    def glibc(self) -> tuple[int, ...]:
        """The newest glibc version asked for, as numbers: (2, 17). Empty for a file that asks for none."""
        found = (re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name) for name in self.versions)
        return max((tuple(map(int, match[1].split("."))) for match in found if match), default=())


def is_elf(path: Path) -> bool:
    """Whether the file begins as an ELF file does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_needs(path: Path) -> Needs:
    """Read what ``path`` needs. Raises ElfError."""
    try:
        return _Reader(path.read_bytes()).needs()
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"{path} is no 64-bit ELF file that can be read ({error}).") from error


def newest_glibc(paths: Iterable[Path]) -> tuple[int, ...]:
    """The newest glibc that any of these ELF files asks for."""
    return max((read_needs(path).glibc for path in paths), default=())


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:6] != MAGIC + b"\x02\x01":
            raise ValueError("not 64-bit little-endian ELF")
        self._data = data
        table, size, count = (*struct.unpack_from("<Q", data, 0x20), *struct.unpack_from("<2H", data, 0x36))
        self._segments = [self._segment(table + index * size) for index in range(count)]

    def _segment(self, offset: int) -> tuple[int, int, int, int]:
        kind, _, start, address, _, length = struct.unpack_from("<2I4Q", self._data, offset)
        return kind, start, address, length

    def needs(self) -> Needs:
        entries = list(self._dynamic())
        values = dict(entries)
        if _DT_STRTAB not in values:
            return Needs((), frozenset())
        strings = self._offset(values[_DT_STRTAB])
        libraries = tuple(self._string(strings + value) for tag, value in entries if tag == _DT_NEEDED)
        if _DT_VERNEED not in values:
            return Needs(libraries, frozenset())
        versions = self._versions(self._offset(values[_DT_VERNEED]), values[_DT_VERNEEDNUM], strings)
        return Needs(libraries, frozenset(versions))

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        for kind, start, _, length in self._segments:
            if kind == _PT_DYNAMIC:
                if start + length > len(self._data):
                    raise ValueError("cut short")
                for tag, value in struct.iter_unpack("<2Q", self._data[start : start + length]):
                    if tag == 0:
                        return
                    yield tag, value

    def _versions(self, offset: int, count: int, strings: int) -> Iterator[str]:
        if count > len(self._data):
            raise ValueError(f"{count} version tables")
        for _ in range(count):
            _, names, _, first, following = struct.unpack_from("<2H3I", self._data, offset)
            entry = offset + first
            for _ in range(names):
                _, _, _, name, next_entry = struct.unpack_from("<I2H2I", self._data, entry)
                yield self._string(strings + name)
                entry += next_entry
            offset += following

    def _offset(self, address: int) -> int:
        """Where in the file the byte lies that is loaded at ``address``."""
        for kind, start, base, length in self._segments:
            if kind == _PT_LOAD and base <= address < base + length:
                return start + address - base
        raise ValueError(f"nothing is loaded at {address:#x}")

    def _string(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode()
