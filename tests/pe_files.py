"""What a 64-bit PE file exports and what it needs, read from the file."""

from __future__ import annotations

import struct
from pathlib import Path

SYSTEM = {"kernel32.dll", "advapi32.dll", "ws2_32.dll", "shell32.dll", "crypt32.dll", "ntdll.dll"}


class PeFile:
    """A 64-bit PE file: the names that it exports and the libraries that it needs."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        start = struct.unpack_from("<I", self._data, 60)[0]
        count, size = (
            struct.unpack_from("<H", self._data, start + 6)[0],
            struct.unpack_from("<H", self._data, start + 20)[0],
        )
        self._directories = start + 24 + 112
        sections = start + 24 + size
        self._sections = [struct.unpack_from("<4I", self._data, sections + 40 * i + 8) for i in range(count)]

    @property
    def exports(self) -> set[str]:
        at = self._directory(0)
        count, names = (struct.unpack_from("<I", self._data, at + offset)[0] for offset in (24, 32))
        table = struct.unpack_from(f"<{count}I", self._data, self._offset(names))
        return {self._text(address) for address in table}

    @property
    def needs(self) -> set[str]:
        at, found = self._directory(1), set()
        while name := struct.unpack_from("<I", self._data, at + 12)[0]:
            found.add(self._text(name))
            at += 20
        return found

    def _directory(self, index: int) -> int:
        return self._offset(struct.unpack_from("<I", self._data, self._directories + 8 * index)[0])

    def _offset(self, address: int) -> int:
        for size, begin, stored, offset in self._sections:
            if begin <= address < begin + max(size, stored):
                return int(offset + address - begin)
        raise AssertionError(hex(address))

    def _text(self, address: int) -> str:
        at = self._offset(address)
        return self._data[at : self._data.index(0, at)].decode()
