"""Reading files for Windows: what is none, or is damaged, is refused in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from solofile.builder.pe import PeError, read_exported, read_needed, system_has

AT, TABLE, RAW, BASE = 0x40, 0x40 + 24 + 240, 0x200, 0x1000


def library(needs: list[str], exports: list[str]) -> bytes:
    """A 64-bit DLL as far as its names go: one section with the import and the export directory."""
    section = bytearray(0x400)
    imports, export, names, texts = 0, 0x100, 0x180, 0x200
    for index, name in enumerate([*needs, *exports]):
        section[texts : texts + len(name)] = name.encode()
        if index < len(needs):
            struct.pack_into("<I", section, imports + 20 * index + 12, BASE + texts)
        else:
            struct.pack_into("<I", section, names + 4 * (index - len(needs)), BASE + texts)
        texts += len(name) + 1
    struct.pack_into("<I4xI", section, export + 24, len(exports), BASE + names)
    header = bytearray(RAW)
    header[:2] = b"MZ"
    struct.pack_into("<I", header, 60, AT)
    struct.pack_into("<4sHH12xH", header, AT, b"PE\0\0", 0x8664, 1, 240)
    struct.pack_into("<H", header, AT + 24, 0x20B)
    struct.pack_into("<IIII", header, AT + 24 + 112, BASE + export if exports else 0, 40, BASE + imports, 40)
    struct.pack_into("<8s4I", header, TABLE, b".rdata", len(section), BASE, len(section), RAW)
    return bytes(header + section)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.dll"


def test_names_are_read(path: Path) -> None:
    path.write_bytes(library(["KERNEL32.dll", "vulkan-1.dll"], ["ggml_backend_init", "other"]))
    assert read_needed(path) == {"KERNEL32.dll", "vulkan-1.dll"}
    assert read_exported(path) == {"ggml_backend_init", "other"}
    path.write_bytes(library([], []))
    assert (read_needed(path), read_exported(path)) == (set(), set())


@pytest.mark.parametrize("data", [b"", b"MZ", b"\x7fELF" + bytes(100), b"MZ" + bytes(200)])
def test_what_is_no_file_for_windows(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(PeError, match=r"a\.dll is (no file for Windows|damaged)"):
        read_needed(path)


def test_what_is_cut_short_or_points_outside(path: Path) -> None:
    whole = library(["vulkan-1.dll"], ["ggml_backend_init"])
    for size in (AT + 10, TABLE - 20, TABLE + 20, RAW + 5, RAW + 0x110):
        path.write_bytes(whole[:size])
        with pytest.raises(PeError, match="is damaged"):
            read_exported(path)
    astray = bytearray(whole)
    struct.pack_into("<I", astray, AT + 24 + 120, 0x9000)
    path.write_bytes(astray)
    with pytest.raises(PeError, match="is damaged"):
        read_needed(path)
    small = bytearray(whole)
    struct.pack_into("<H", small, AT + 24, 0x10B)
    path.write_bytes(small)
    with pytest.raises(PeError, match="no 64-bit file"):
        read_needed(path)


def test_what_every_windows_has() -> None:
    assert system_has("KERNEL32.dll") and system_has("api-ms-win-crt-heap-l1-1-0.dll")
    assert not system_has("vulkan-1.dll")
