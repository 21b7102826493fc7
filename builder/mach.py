"""Reads what a library for macOS needs and offers out of its file (Mach-O, 64 bits, one architecture)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\xcf\xfa\xed\xfe"
_SYMTAB, _DYLIB, _WEAK_DYLIB, _REEXPORT_DYLIB, _BUILD_VERSION = 0x2, 0xC, 0x80000018, 0x8000001F, 0x32
_VERSION_MIN = 0x24
_STAB, _PRIVATE, _TYPE, _EXTERNAL = 0xE0, 0x10, 0x0E, 0x01
_WEAK_REFERENCE = 0x40


class MachError(ValueError):
    """Bytes that are no 64-bit Mach-O file, or whose tables point outside of them."""


@dataclass(frozen=True)
class MachLibrary:
    """``needs`` are libraries by path, ``defined`` and ``undefined`` symbols as C names them, ``oldest`` a macOS."""

    needs: tuple[str, ...]
    defined: frozenset[str]
    undefined: frozenset[str]
    oldest: tuple[int, int]


def read_mach(data: bytes) -> MachLibrary:
    """Read one architecture. Raises MachError."""
    try:
        return _read(data)
    except (struct.error, ValueError) as error:
        raise MachError(f"no Mach-O file of 64 bits that can be read ({error})") from error


def _read(data: bytes) -> MachLibrary:
    if not data.startswith(MAGIC):
        raise ValueError("it does not begin like one")
    needs: list[str] = []
    defined: set[str] = set()
    undefined: set[str] = set()
    oldest = (0, 0)
    for kind, at in _commands(data):
        if kind in (_DYLIB, _WEAK_DYLIB, _REEXPORT_DYLIB):
            needs.append(_text(data, at + _number(data, at + 8)))
        elif kind == _SYMTAB:
            for name, is_defined in _symbols(data, at):
                (defined if is_defined else undefined).add(name)
        elif kind in (_BUILD_VERSION, _VERSION_MIN):
            version = _number(data, at + (12 if kind == _BUILD_VERSION else 8))
            oldest = version >> 16, version >> 8 & 0xFF
    return MachLibrary(tuple(needs), frozenset(defined), frozenset(undefined), oldest)


def _commands(data: bytes) -> Iterator[tuple[int, int]]:
    """Each load command: its kind, and where it is."""
    at = 32
    for _ in range(_number(data, 16)):
        kind, size = struct.unpack_from("<2I", data, at)
        if size < 8:
            raise ValueError("a load command without a size")
        yield kind, at
        at += size


def _symbols(data: bytes, at: int) -> Iterator[tuple[str, bool]]:
    """The symbols that others see or have to bring, and whether they are defined here."""
    table, count, strings, _ = struct.unpack_from("<4I", data, at + 8)
    for place in range(table, table + 16 * count, 16):
        name, kind, _, described = struct.unpack_from("<I2BH", data, place)
        if kind & _STAB or kind & _PRIVATE or not kind & _EXTERNAL:
            continue
        is_defined = bool(kind & _TYPE)
        if is_defined or not described & _WEAK_REFERENCE:
            yield _text(data, strings + name).removeprefix("_"), is_defined


def _number(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
