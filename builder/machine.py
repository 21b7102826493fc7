"""What a program or library is made for, by the header of its file: ELF, PE or Mach-O."""

from __future__ import annotations

import struct
from pathlib import Path

HEADER = 4096

_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_PE_MACHINES = {0x8664: "x86_64", 0xAA64: "aarch64", 0x14C: "x86"}
_MACH_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_MACH_64, _FAT = 0xFEEDFACF, 0xCAFEBABE


def made_for(path: Path) -> tuple[str, ...]:
    """The targets that a file is for, such as ``linux-x86_64``; a universal file has several, any other file none.

    A processor that is not known is named by its number. Linux stands for every system with ELF files.
    """
    with path.open("rb") as file:
        return header_targets(file.read(HEADER))


def header_targets(header: bytes) -> tuple[str, ...]:
    """The same by the first bytes of a file."""
    try:
        if header.startswith(b"\x7fELF"):
            return (f"linux-{_named(_ELF_MACHINES, struct.unpack_from('<H', header, 18)[0])}",)
        if header.startswith(b"MZ"):
            return _pe(header)
        if len(header) >= 8 and struct.unpack_from("<I", header)[0] == _MACH_64:
            return (f"macos-{_named(_MACH_MACHINES, struct.unpack_from('<I', header, 4)[0])}",)
        if len(header) >= 8 and struct.unpack_from(">I", header)[0] == _FAT:
            count = struct.unpack_from(">I", header, 4)[0]
            kinds = [struct.unpack_from(">I", header, 8 + 20 * index)[0] for index in range(count)]
            return tuple(f"macos-{_named(_MACH_MACHINES, kind)}" for kind in kinds)
    except struct.error:
        pass  # cut short: no file for any machine
    return ()


def own_slice(data: bytes, target: str) -> bytes:
    """Of a universal file the part for ``target``, its signature with it; any other file as it is."""
    targets = header_targets(data[:HEADER])
    if len(targets) < 2 or target not in targets:
        return data
    entry = struct.unpack_from(">5I", data, 8 + 20 * targets.index(target))
    return data[entry[2] : entry[2] + entry[3]]


def _pe(header: bytes) -> tuple[str, ...]:
    offset = struct.unpack_from("<I", header, 0x3C)[0]
    if header[offset : offset + 4] != b"PE\0\0":
        return ()
    return (f"windows-{_named(_PE_MACHINES, struct.unpack_from('<H', header, offset + 4)[0])}",)


def _named(names: dict[int, str], number: int) -> str:
    return names.get(number, f"machine {number:#x}")
