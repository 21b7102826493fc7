"""The ZIP behind a bundle's archive, in which a Python finds the launcher (FORMAT.md, "Started by a Python").

All that is in it is stored: what a build itself adds does not depend on the zlib that it runs with.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from solofile.runtime.archive import STORED, Member, directory_entry, local_header
from solofile.runtime.container import Bundle
from solofile.runtime.ending import BEHIND_END, behind_end
from solofile.runtime.manifest import LAUNCHER_PART
from solofile.runtime.manifest_behind import APE, PYZ

MODULES = (
    *("archive", "cache", "ending", "errors", "gpu_environment", "locks", "raw_file", "record", "system_files"),
    "windows_calls",
)
"""The runtime's modules that the launcher in Python needs, beside its own."""

PACKAGE = "pylauncher"

SHEBANG = b"#!/usr/bin/env python3\n"

_MAIN = """\
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "solofile: this file needs Python 3.10 or newer and %s is %d.%d: start it with a newer one.\\n"
        % ((sys.executable,) + tuple(sys.version_info[:2]))
    )
    sys.exit(2)

from solofile.runtime.pylauncher.main import run

run(__loader__.archive, own_python=True)
"""
"""``__main__.py``: in words that older Pythons understand as well."""

SITE = "Lib/site-packages/"
"""Where a Cosmopolitan Python looks for packages in its own file."""

ARGS = ".args"
_APE_MODULE = "solofile_ape"
ARGS_TEXT = f"-I\n-m\n{_APE_MODULE}\n..."
"""What a Cosmopolitan Python puts in place of its arguments, one a line; ``...`` stands for the user's."""

_APE_START = """\
import sys

from solofile.runtime.pylauncher.main import run

run(sys.executable, own_python=False)
"""

_CENTRAL = struct.Struct("<4s6H3I5H2I")
_CENTRAL_AT = struct.Struct("<16xI")
_OFFSET_AT = 42


class Entry(NamedTuple):
    """One entry of a ZIP's directory: its bytes, the member's name, and where the member's header lies."""

    raw: bytes
    name: str
    offset: int

    def moved(self, by: int) -> Entry:
        """The same for a member that lies ``by`` bytes further on."""
        offset = self.offset + by
        raw = self.raw[:_OFFSET_AT] + struct.pack("<I", offset) + self.raw[_OFFSET_AT + 4 :]
        return Entry(raw, self.name, offset)


@dataclass(frozen=True)
class Form:
    """How a bundle begins and ends that a Python starts.

    ``head`` stands in place of the launcher. ``before`` is all of the ZIP but its end record; of it the last
    ``directory`` bytes are the directory with ``entries`` entries, whose offsets count from the start of the file if
    ``absolute``, else from that of the ZIP.
    """

    name: str
    head: bytes
    before: bytes
    directory: int
    entries: int
    absolute: bool

    def behind(self, position: int) -> bytes:
        """The ZIP, for an archive that ends at ``position``."""
        offset = len(self.before) - self.directory + (position if self.absolute else 0)
        return self.before + behind_end(self.entries, self.directory, offset, len(self.before))


def launcher_modules(prefix: str = "") -> dict[str, bytes]:
    """The launcher's modules by their paths, the packages' own files included, sorted."""
    runtime = Path(str(files("solofile.runtime")))
    paths = [runtime / f"{name}.py" for name in ("__init__", *MODULES)]
    paths += (runtime / PACKAGE).glob("*.py")
    found = {f"{prefix}solofile/__init__.py": b""}
    for path in paths:
        found[f"{prefix}solofile/runtime/{path.relative_to(runtime).as_posix()}"] = path.read_bytes()
    return dict(sorted(found.items()))


def pyz_form() -> Form:
    """A zipapp: a line that names the Python to start it with, and the launcher's modules at the end of the file."""
    members, entries = packed({"__main__.py": _MAIN.encode(), **launcher_modules()}, 0)
    directory = b"".join(entry.raw for entry in entries)
    return Form(PYZ, SHEBANG, members + directory, len(directory), len(entries), absolute=False)


def ape_form(local: bytes, entries: list[Entry]) -> Form:
    """A Cosmopolitan Python: ``local`` is its file up to the directory, ``entries`` what that holds.

    ``.args`` and the launcher's modules lie behind the members that it has; the directory is the end of the file.
    """
    added = {ARGS: ARGS_TEXT.encode(), f"{SITE}{_APE_MODULE}.py": _APE_START.encode(), **launcher_modules(SITE)}
    members, own = packed(added, len(local))
    kept = [entry for entry in entries if entry.name not in added]
    directory = b"".join(entry.raw for entry in (*kept, *own))
    return Form(APE, local + members, directory, len(directory), len(kept) + len(own), absolute=True)


def form_of(bundle: Bundle) -> Form | None:
    """The form of a bundle that is there; None for one that is a program itself."""
    behind = bundle.manifest.behind
    if behind is None:
        return None
    data = b"".join(bundle.bytes_at(bundle.archive_end, behind.size))
    head = b"".join(bundle.bytes_at(0, bundle.parts[LAUNCHER_PART].size))
    # In a zipapp the directory's place is counted from the start of the ZIP, of which in the other form it is all.
    start = _CENTRAL_AT.unpack_from(data, len(data) - BEHIND_END)[0] if behind.form == PYZ else 0
    entries = list(directory_entries(data[start:-BEHIND_END]))
    size = sum(len(entry.raw) for entry in entries)
    return Form(behind.form, head, data[: start + size], size, len(entries), absolute=behind.form == APE)


def cosmo_python_of(form: Form) -> tuple[bytes, list[Entry]]:
    """The Cosmopolitan Python in a bundle: what ``ape_form`` was given."""
    entries = list(directory_entries(form.before))
    own = {ARGS, f"{SITE}{_APE_MODULE}.py"}
    start = min(entry.offset for entry in entries if entry.name in own)
    return form.head[:start], [entry for entry in entries if entry.offset < start]


def directory_entries(data: bytes) -> Iterator[Entry]:
    """The entries of a ZIP's directory, up to an end record. Raises ValueError for what is none."""
    position = 0
    while position < len(data) and data[position : position + 4] != b"PK\6\6":
        if data[position : position + 4] != b"PK\1\2" or len(data) - position < _CENTRAL.size:
            raise ValueError("it has a directory that cannot be read")
        fields = _CENTRAL.unpack_from(data, position)
        end = position + _CENTRAL.size + sum(fields[10:13])
        name = data[position + _CENTRAL.size :][: fields[10]].decode("utf-8", "surrogateescape")
        yield Entry(data[position:end], name, fields[16])
        position = end


def packed(contents: Mapping[str, bytes], start: int) -> tuple[bytes, list[Entry]]:
    """Stored members one behind the other, the first at ``start``, and their directory entries."""
    data, entries = bytearray(), []
    for path, content in contents.items():
        size = len(content)
        member = Member(path, STORED, 0o644, zlib.crc32(content), size, size, start + len(data))
        data += local_header(member) + content
        entries.append(Entry(directory_entry(member), path, member.header_offset))
    return bytes(data), entries
