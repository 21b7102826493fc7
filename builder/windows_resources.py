"""What Windows shows of a program: its icon, its name and version, and how it wants to be run; put into a launcher.

The layout is that of Microsoft's "PE Format" (the .rsrc section) and of VS_VERSIONINFO in the Windows SDK.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from solofile.builder.errors import BadInput

_ICON, _GROUP_ICON, _VERSION, _MANIFEST = 3, 14, 16, 24
_ENGLISH, _UNICODE = 0x0409, 1200
_SUBFOLDER = 1 << 31
_SECTION = struct.Struct("<8s6I2HI")
_READABLE_DATA = 0x40000040
_MOST_ICONS = 64

_APPLICATION = b"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
 <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3"><security><requestedPrivileges>
  <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
 </requestedPrivileges></security></trustInfo>
 <application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
  <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
 </windowsSettings></application>
</assembly>
"""
"""Whatever the file is called (setup.exe), it asks for no rights of an administrator; paths may be long."""

Resources = Mapping[tuple[int, int], bytes]
"""The bytes of each resource by type and number."""


@dataclass(frozen=True)
class Label:
    """What is shown: ``title`` in the task manager and the properties, ``version`` of up to four numbers."""

    title: str
    name: str
    version: str
    icon: bytes | None = None
    """An .ico file."""


def labelled(launcher: bytes, label: Label) -> bytes:
    """The launcher with these resources; it must have none yet. Raises BadInput for what is no icon."""
    resources = {(_VERSION, 1): version_info(label), (_MANIFEST, 1): _APPLICATION}
    return with_section(launcher, resources | (icons(label.icon) if label.icon else {}))


def icons(data: bytes) -> dict[tuple[int, int], bytes]:
    """The resources of an .ico file: each image, and the list of them. Raises BadInput."""
    try:
        reserved, kind, count = struct.unpack_from("<3H", data)
        if (reserved, kind) != (0, 1) or not 0 < count <= _MOST_ICONS:
            raise BadInput("The icon is no .ico file: convert it, to 256 x 256 and smaller images in one file.")
        found: dict[tuple[int, int], bytes] = {}
        group = struct.pack("<3H", 0, 1, count)
        for number in range(1, count + 1):
            facts = data[6 + 16 * (number - 1) :][:12]
            size, offset = struct.unpack_from("<2I", data, 6 + 16 * (number - 1) + 8)
            if not size or offset + size > len(data):
                raise BadInput("The icon is cut short: copy or convert it again.")
            found[_ICON, number] = data[offset : offset + size]
            group += facts + struct.pack("<H", number)
    except struct.error as error:
        raise BadInput("The icon is cut short: copy or convert it again.") from error
    return found | {(_GROUP_ICON, 1): group}


def version_info(label: Label) -> bytes:
    """VS_VERSIONINFO."""
    numbers = [min(int(part), 0xFFFF) for part in label.version.split(".") if part.isdecimal()][:4]
    one, two, three, four = numbers + [0] * (4 - len(numbers))
    words = (one << 16 | two, three << 16 | four)
    fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, *words, *words, 0x3F, 0, 0x40004, 1, 0, 0, 0)
    texts = {
        "FileDescription": label.title,
        "FileVersion": label.version,
        "InternalName": label.name,
        "OriginalFilename": f"{label.name}.exe",
        "ProductName": label.title,
        "ProductVersion": label.version,
    }
    strings = b"".join(_padded(_node(key, _text(value), len(value) + 1, is_text=True)) for key, value in texts.items())
    table = _node(f"{_ENGLISH:04x}{_UNICODE:04x}", b"", 0, strings, is_text=True)
    translation = _node("Translation", struct.pack("<2H", _ENGLISH, _UNICODE), 4)
    parts = _padded(_node("StringFileInfo", b"", 0, table, is_text=True)) + _node("VarFileInfo", b"", 0, translation)
    return _node("VS_VERSION_INFO", fixed, len(fixed), parts)


def _node(key: str, value: bytes, length: int, children: bytes = b"", *, is_text: bool = False) -> bytes:
    """One block: its length, that of its value (in letters of a text), its kind, key, value and children."""
    head = _padded(b"\0" * 6 + _text(key))
    body = head + (_padded(value) if children else value) + children
    return struct.pack("<3H", len(body), length, int(is_text)) + body[6:]


def _text(value: str) -> bytes:
    return value.encode("utf-16-le") + b"\0\0"


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def with_section(program: bytes, resources: Resources) -> bytes:
    """A program with one more section, .rsrc, behind the others. Raises BadInput where it has resources already."""
    start = struct.unpack_from("<I", program, 60)[0]
    count, optional_size = (
        struct.unpack_from("<H", program, start + 6)[0],
        struct.unpack_from("<H", program, start + 20)[0],
    )
    optional, table = start + 24, start + 24 + optional_size
    alignment, file_alignment = struct.unpack_from("<2I", program, optional + 32)
    end_of_headers = struct.unpack_from("<I", program, optional + 60)[0]
    entry = optional + 112 + 8 * 2
    if struct.unpack_from("<I", program, entry)[0] or table + 40 * (count + 1) > end_of_headers:
        raise BadInput("The launcher has resources already, or no room for them: give one without any.")
    last = _SECTION.unpack_from(program, table + 40 * (count - 1))
    address = _up(last[2] + max(last[1], last[3]), alignment)
    offset = _up(len(program), file_alignment)
    data = section(resources, address)
    stored = data + b"\0" * (-len(data) % file_alignment)
    changed = bytearray(program + b"\0" * (offset - len(program)) + stored)
    struct.pack_into("<H", changed, start + 6, count + 1)
    struct.pack_into("<I", changed, optional + 8, struct.unpack_from("<I", program, optional + 8)[0] + len(stored))
    struct.pack_into("<I", changed, optional + 56, _up(address + len(data), alignment))
    struct.pack_into("<2I", changed, entry, address, len(data))
    facts = (b".rsrc", len(data), address, len(stored), offset, 0, 0, 0, 0, _READABLE_DATA)
    _SECTION.pack_into(changed, table + 40 * count, *facts)
    return bytes(changed)


def section(resources: Resources, address: int) -> bytes:
    """The bytes of a .rsrc section loaded at ``address``: folders by type, number and language, then the data."""
    kinds = sorted({kind for kind, _ in resources})
    ordered = sorted(resources)
    folders = 16 + 8 * len(kinds) + sum(16 for _ in kinds) + 8 * len(ordered) + 24 * len(ordered)
    root, second, third, entries, blobs = b"", b"", b"", b"", b""
    second_at, third_at = 16 + 8 * len(kinds), 16 + 8 * len(kinds) + 16 * len(kinds) + 8 * len(ordered)
    data_at = folders + 16 * len(ordered)
    for kind in kinds:
        numbers = [number for one, number in ordered if one == kind]
        root += struct.pack("<2I", kind, _SUBFOLDER | (second_at + len(second)))
        second += _folder(len(numbers))
        for number in numbers:
            second += struct.pack("<2I", number, _SUBFOLDER | (third_at + len(third)))
            third += _folder(1) + struct.pack("<2I", _ENGLISH, folders + len(entries))
            blob = resources[kind, number]
            entries += struct.pack("<4I", address + data_at + len(blobs), len(blob), 0, 0)
            blobs += blob + b"\0" * (-len(blob) % 8)
    return _folder(len(kinds)) + root + second + third + entries + blobs


def _folder(count: int) -> bytes:
    return struct.pack("<2I4H", 0, 0, 0, 0, 0, count)


def _up(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment
