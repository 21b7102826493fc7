"""What an ELF file needs of the system that loads it (the newest glibc, the libraries), and what it offers to others.

Only the little of the format that answers this is read (System V ABI, and the GNU extension for symbol versions: the
section ``.gnu.version_r``, found by way of the dynamic segment, since a stripped file may have lost its section table).
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF"
MACHINES = {"x86_64": 62, "aarch64": 183}
_SHARED_OBJECT = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
DT_NEEDED, DT_SEARCH_PATHS = 1, (15, 29)
DT_SONAME = 14
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 4, 5, 6, 0x6FFFFEF5
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2


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


@dataclass(frozen=True)
class Interface:
    """A shared library as others see it; ``undefined`` are the symbols that must come from elsewhere."""

    machine: int
    defined: frozenset[str]
    undefined: frozenset[str]


def is_elf(path: Path) -> bool:
    """Whether the file begins as an ELF file does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_needs(path: Path) -> Needs:
    """Read what ``path`` needs. Raises ElfError."""
    with explained(path):
        return ElfFile(path.read_bytes()).needs()


def read_interface(path: Path) -> Interface:
    """Read what the shared library ``path`` offers and asks for. Raises ElfError."""
    with explained(path):
        return ElfFile(path.read_bytes()).interface()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"{path} is no 64-bit ELF file that can be read ({error}).") from error


def newest_glibc(paths: Iterable[Path]) -> tuple[int, ...]:
    """The newest glibc that any of these ELF files asks for."""
    return max((read_needs(path).glibc for path in paths), default=())


class ElfFile:
    """One ELF file in memory. Whatever reads it raises ValueError, IndexError or struct.error where it is damaged."""

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
        libraries = tuple(self._string(offset) for offset in self.strings(DT_NEEDED))
        if _DT_VERNEED not in values:
            return Needs(libraries, frozenset())
        versions = self._versions(self._offset(values[_DT_VERNEED]), values[_DT_VERNEEDNUM])
        return Needs(libraries, frozenset(self._string(strings + name) for name in versions))

    def interface(self) -> Interface:
        kind, machine = struct.unpack_from("<2H", self._data, 0x10)
        values = dict(self._dynamic())
        if kind != _SHARED_OBJECT or _DT_SYMTAB not in values:
            raise ValueError("not a shared library")
        strings = self._offset(values[_DT_STRTAB])
        defined, undefined = set(), set()
        for name, info, _, section in self._symbols(values):
            if section:
                defined.add(self._string(strings + name))
            elif info >> 4 != _WEAK:
                undefined.add(self._string(strings + name))
        return Interface(machine, frozenset(defined), frozenset(undefined))

    def strings(self, *tags: int) -> list[int]:
        """Where in the file the strings lie that entries of the dynamic segment with these tags name."""
        entries = list(self._dynamic())
        strings = self._offset(dict(entries)[_DT_STRTAB])
        return [strings + value for tag, value in entries if tag in tags]

    def all_strings(self) -> set[int]:
        """Where in the file every string lies that the loader uses."""
        values = dict(self._dynamic())
        strings = self._offset(values[_DT_STRTAB])
        found = set(self.strings(DT_NEEDED, DT_SONAME, *DT_SEARCH_PATHS))
        found |= {strings + symbol[0] for symbol in self._symbols(values)}
        if _DT_VERNEED in values:
            versions = self._versions(self._offset(values[_DT_VERNEED]), values[_DT_VERNEEDNUM])
            found |= {strings + name for name in versions}
        return found

    def version_files(self) -> list[int]:
        """Where in the file the names of the libraries lie that symbol versions are asked of."""
        values = dict(self._dynamic())
        if _DT_VERNEED not in values:
            return []
        strings, offset = self._offset(values[_DT_STRTAB]), self._offset(values[_DT_VERNEED])
        found = []
        for _ in range(min(values[_DT_VERNEEDNUM], len(self._data))):
            _, _, name, _, following = struct.unpack_from("<2H3I", self._data, offset)
            found.append(strings + name)
            offset += following
        return found

    def _symbols(self, values: Mapping[int, int]) -> Iterator[tuple[int, int, int, int]]:
        """Name, type with binding, visibility and section of each symbol but the first, which is none."""
        table = self._offset(values[_DT_SYMTAB])
        for index in range(1, self._symbol_count(values)):
            yield struct.unpack_from("<I2BH", self._data, table + 24 * index)

    def _symbol_count(self, values: Mapping[int, int]) -> int:
        """The length of the symbol table, which only the hash tables over it tell."""
        if _DT_HASH in values:
            return int(struct.unpack_from("<2I", self._data, self._offset(values[_DT_HASH]))[1])
        table = self._offset(values[_DT_GNU_HASH])
        buckets, first, words, _ = struct.unpack_from("<4I", self._data, table)
        chains = table + 16 + 8 * words + 4 * buckets
        last = max(struct.unpack_from(f"<{buckets}I", self._data, table + 16 + 8 * words), default=0)
        if last < first:
            return int(first)  # nothing is exported
        while not struct.unpack_from("<I", self._data, chains + 4 * (last - first))[0] & 1:
            last += 1
        return int(last + 1)

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        for kind, start, _, length in self._segments:
            if kind == _PT_DYNAMIC:
                if start + length > len(self._data):
                    raise ValueError("cut short")
                for tag, value in struct.iter_unpack("<2Q", self._data[start : start + length]):
                    if tag == 0:
                        return
                    yield tag, value

    def _versions(self, offset: int, count: int) -> Iterator[int]:
        """Where in the string table the names of the versions lie that are asked for."""
        if count > len(self._data):
            raise ValueError(f"{count} version tables")
        for _ in range(count):
            _, names, _, first, following = struct.unpack_from("<2H3I", self._data, offset)
            entry = offset + first
            for _ in range(names):
                _, _, _, name, next_entry = struct.unpack_from("<I2H2I", self._data, entry)
                yield name
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
