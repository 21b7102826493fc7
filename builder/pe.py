"""Reads what a Windows program or library exports and needs out of its file (the PE format)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_SYSTEM = frozenset(
    {"advapi32.dll", "bcrypt.dll", "crypt32.dll", "gdi32.dll", "kernel32.dll", "kernelbase.dll", "msvcrt.dll"}
    | {"ntdll.dll", "ole32.dll", "psapi.dll", "shell32.dll", "ucrtbase.dll", "user32.dll", "ws2_32.dll"}
)
_EXPORTS, _IMPORTS = 0, 1
_BY_NUMBER = 1 << 63
_DIRECTORIES = 112
"""Where the data directories begin in the optional header of a 64-bit file."""


class PeError(ValueError):
    """A file that is no 64-bit program or library for Windows, or one that is damaged."""


def system_has(library: str) -> bool:
    """Whether every Windows has the library, named as a program asks for it."""
    name = library.lower()
    return name in _SYSTEM or name.startswith("api-ms-win-")


def read_needed(path: Path) -> set[str]:
    """The libraries that are loaded along with the file. Raises PeError."""
    return _Pe(path).needed()


def read_imported(path: Path) -> dict[str, set[str]]:
    """The names that the file takes from each of these libraries. Raises PeError."""
    return _Pe(path).imported()


def read_exported(path: Path) -> set[str]:
    """The names that the file exports. Raises PeError."""
    return _Pe(path).exported()


class _Pe:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = path.read_bytes()
        try:
            self._read_headers()
        except struct.error as error:
            raise self._damaged() from error

    def needed(self) -> set[str]:
        return set(self.imported())

    def imported(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        try:
            at = self._directory(_IMPORTS)
            while at and (name := self._number(at + 12)):
                names = self._number(at) or self._number(at + 16)
                found.setdefault(self._text(name), set()).update(self._names(names))
                at += 20
        except struct.error as error:
            raise self._damaged() from error
        return found

    def _names(self, table: int) -> Iterator[str]:
        """What a table of imports names; those by number have no name."""
        at = self._offset(table) if table else len(self._data)
        while table and (entry := struct.unpack_from("<Q", self._data, at)[0]):
            if not entry & _BY_NUMBER:
                yield self._text(entry + 2)
            at += 8

    def exported(self) -> set[str]:
        try:
            at = self._directory(_EXPORTS)
            if not at:
                return set()
            table = self._offset(self._number(at + 32))
            return {self._text(self._number(table + 4 * index)) for index in range(self._number(at + 24))}
        except struct.error as error:
            raise self._damaged() from error

    def _read_headers(self) -> None:
        start = self._number(60) if self._data.startswith(b"MZ") else 0
        if not start or self._data[start : start + 4] != b"PE\0\0":
            raise PeError(f"{self._path} is no file for Windows")
        sections, size = struct.unpack_from("<H12xH", self._data, start + 6)
        if struct.unpack_from("<H", self._data, start + 24)[0] != 0x20B:
            raise PeError(f"{self._path} is no 64-bit file for Windows")
        self._directories = start + 24 + _DIRECTORIES
        table = start + 24 + size
        self._sections = [struct.unpack_from("<4I", self._data, table + 40 * i + 8) for i in range(sections)]

    def _directory(self, index: int) -> int:
        """Where the directory is in the file; 0 if there is none."""
        address = self._number(self._directories + 8 * index)
        return self._offset(address) if address else 0

    def _offset(self, address: int) -> int:
        for size, begin, stored, offset in self._sections:
            if begin <= address < begin + max(size, stored):
                return int(offset + address - begin)
        raise self._damaged()

    def _number(self, at: int) -> int:
        return int(struct.unpack_from("<I", self._data, at)[0])

    def _text(self, address: int) -> str:
        at = self._offset(address)
        end = self._data.find(b"\0", at)
        if end < 0:
            raise self._damaged()
        return self._data[at:end].decode("latin-1")

    def _damaged(self) -> PeError:
        return PeError(f"{self._path} is damaged: its headers point outside of it")
