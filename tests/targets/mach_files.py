"""What macOS reads of a Mach-O file before it runs any of it: load commands, and the signature page by page."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import lief

SIGNATURE, CODE_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
ADHOC = 0x2
HASHES = {1: (hashlib.sha1, 20), 2: (hashlib.sha256, 32)}
SYSTEM = ("/usr/lib/", "/System/Library/Frameworks/")


@dataclass(frozen=True)
class MachFile:
    """One file of one architecture."""

    name: str
    data: bytes
    binary: lief.MachO.Binary

    @property
    def loads(self) -> list[str]:
        """The libraries that it asks for; not the name that a library gives itself."""
        own = lief.MachO.LoadCommand.TYPE.ID_DYLIB
        return [str(one.name) for one in self.binary.libraries if one.command != own]

    @property
    def oldest(self) -> tuple[int, int]:
        """The macOS that it is made for."""
        if self.binary.has_build_version:
            assert self.binary.build_version.platform == lief.MachO.BuildVersion.PLATFORMS.MACOS, self.name
            version = self.binary.build_version.minos
        else:
            assert self.binary.has_version_min, f"{self.name} does not say what it is made for"
            assert self.binary.version_min.command == lief.MachO.LoadCommand.TYPE.VERSION_MIN_MACOSX, self.name
            version = self.binary.version_min.version
        return version[0], version[1]

    @property
    def end(self) -> int:
        """Where the last segment ends in the file."""
        return max(int(one.file_offset + one.file_size) for one in self.binary.segments)


def read(path: Path, name: str = "") -> MachFile:
    """The file, which has to hold one architecture. Raises AssertionError."""
    return of_bytes(path.read_bytes(), name or path.name)


def of_bytes(data: bytes, name: str) -> MachFile:
    """The same for the contents of a file."""
    found = lief.MachO.parse(list(data))
    assert found is not None and found.size == 1, f"{name} is not a Mach-O file of one architecture"
    binary = found.at(0)
    assert binary is not None
    return MachFile(name, data, binary)


def check_structure(file: MachFile) -> None:
    """What dyld and the kernel refuse a file for."""
    binary, size = file.binary, len(file.data)
    place = 0
    for segment in binary.segments:
        assert segment.file_offset + segment.file_size <= size, f"{file.name}: {segment.name} ends behind the file"
        assert segment.virtual_size >= segment.file_size, f"{file.name}: {segment.name} is larger than its memory"
        assert segment.init_protection & ~segment.max_protection == 0, file.name
        assert segment.init_protection & 6 != 6, f"{file.name}: {segment.name} can be written and executed"
        assert segment.file_size == 0 or segment.file_offset >= place, f"{file.name}: segments overlap"
        place = max(place, segment.file_offset + segment.file_size)
    assert binary.segments[-1].name == "__LINKEDIT", file.name
    assert file.binary.header.sizeof_cmds == sum(one.size for one in binary.commands), file.name
    commands = struct.unpack_from("<I", file.data, 20)[0]
    first = min(int(one.offset) for one in binary.sections if one.offset)
    assert 32 + commands <= first, f"{file.name}: the load commands reach into the code"


def check_signature(file: MachFile) -> int:
    """Recompute the hash of every page; returns the flags of the signature. Raises AssertionError."""
    signature = file.binary.code_signature
    linkedit = file.binary.segments[-1]
    start, end = signature.data_offset, signature.data_offset + signature.data_size
    assert start % 16 == 0, file.name
    assert end == linkedit.file_offset + linkedit.file_size, f"{file.name}: its signature is not the end of __LINKEDIT"
    blob = file.data[start:end]
    magic, length, count = struct.unpack_from(">3I", blob)
    assert magic == SIGNATURE and length <= len(blob), file.name
    found = [struct.unpack_from(">2I", blob, 12 + 8 * index)[1] for index in range(count)]
    flags = [_check_directory(file, blob[at:], start) for at in found if _magic(blob, at) == CODE_DIRECTORY]
    assert flags, f"{file.name}: a signature without hashes"
    return flags[0]


def _magic(blob: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", blob, at)[0])


def _check_directory(file: MachFile, blob: bytes, signature_at: int) -> int:
    _, length, version, flags, hashes, _, special, pages, limit = struct.unpack_from(">9I", blob)
    size, kind, _, shift = struct.unpack_from("4B", blob, 36)
    make, width = HASHES[kind]
    assert width == size and hashes + pages * size <= length, file.name
    assert limit == signature_at, f"{file.name}: its signature is for another length"
    step = 1 << shift
    assert shift in (12, 14) and pages == -(-limit // step), f"{file.name}: pages of another size"
    assert version >= 0x20001 and special * size <= hashes, file.name
    for page in range(pages):
        data = file.data[page * step : min((page + 1) * step, limit)]
        noted = blob[hashes + page * size : hashes + (page + 1) * size]
        assert make(data).digest() == noted, f"{file.name}: page {page} of {pages} is not what was signed"
    return int(flags)
