"""Makes a ggml backend that somebody else built fit a bundle, by shortening strings of its ELF file where they lie.

- It may ask for ``libggml-base.so.0``: upstream's builds have a version in the name, ours have none.
- It may look for libraries in folders of the machine that built it (DT_RPATH, DT_RUNPATH). On another machine such a
  folder is anybody's, so only those of the system are left.
"""

from __future__ import annotations

import re
from pathlib import Path

from solofile.builder.elf import DT_NEEDED, DT_SEARCH_PATHS, ElfError, ElfFile, explained

SYSTEM_FOLDERS = (b"/usr/", b"/lib", b"/opt/")


def relinked(path: Path) -> bytes:
    """The library at ``path`` as a bundle needs it. Raises ElfError where it cannot be changed."""
    data = bytearray(path.read_bytes())
    with explained(path):
        elf = ElfFile(bytes(data))
        used = elf.all_strings()
        names, folders = elf.strings(DT_NEEDED), elf.strings(*DT_SEARCH_PATHS)
        for offset in (*names, *folders):
            old = bytes(data[offset : data.index(b"\0", offset)])
            new = _plain_name(old) if offset in names else _system_folders(old)
            if new != old and any(offset < other <= offset + len(old) for other in used):
                raise ElfError(f"{path} names {old.decode()} in a way that cannot be changed")
            data[offset : offset + len(old)] = new.ljust(len(old), b"\0")
    return bytes(data)


def _plain_name(name: bytes) -> bytes:
    match = re.fullmatch(rb"(libggml(?:-base)?\.so)\.[0-9.]+", name)
    return match[1] if match else name


def _system_folders(search_path: bytes) -> bytes:
    return b":".join(folder for folder in search_path.split(b":") if folder.startswith(SYSTEM_FOLDERS))
