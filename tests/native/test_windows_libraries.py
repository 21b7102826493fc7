"""The libraries for Windows: what they export and what they need, read from their files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from solofile.builder import native
from solofile.builder.elf import read_interface

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


@pytest.fixture(scope="module")
def windows_dir(native_dir: Path) -> Path:
    """The folder of the libraries for Windows; built beside this machine's own."""
    assert native_dir.is_dir()
    return native.build("windows-x86_64", kernels="x64,haswell").folder


@pytest.mark.parametrize("name", ["ggml-base", "ggml"])
def test_ggml_exports_what_it_does_on_linux(windows_dir: Path, native_dir: Path, name: str) -> None:
    linux = {symbol for symbol in read_interface(native_dir / f"lib{name}.so").defined if not symbol.startswith("_Z")}
    assert len(linux) > 10
    assert PeFile(windows_dir / f"{name}.dll").exports == linux


def test_kernels_export_what_ggml_asks_for(windows_dir: Path) -> None:
    for name in ("x64", "haswell"):
        exports = PeFile(windows_dir / f"ggml-cpu-{name}.dll").exports
        assert exports == {"ggml_backend_init", "ggml_backend_score"}


def test_the_bridge_exports_its_own_functions_alone(windows_dir: Path) -> None:
    from solofile.runtime.bridge import _FUNCTIONS

    assert PeFile(windows_dir / "llama.dll").exports == set(_FUNCTIONS)


def test_only_the_system_and_one_another_are_needed(windows_dir: Path) -> None:
    own = set(native.core_files("windows-x86_64"))
    for path in (path for path in windows_dir.glob("*.dll") if path.name != "ggml-vulkan.dll"):
        needs = {name.lower() for name in PeFile(path).needs}
        assert not {name for name in needs - own - SYSTEM if not name.startswith("api-ms-win-")}, path.name
