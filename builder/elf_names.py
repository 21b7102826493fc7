"""Renames the libraries that an ELF file is known by and asks for, where the names lie in its string table.

A new name has to be no longer than the old one. It is put in place of it wherever a table of the file names a library:
what it needs, its own name, and the files that symbol versions come from (which the loader compares with the others).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from solofile.builder.elf import DT_NEEDED, DT_SONAME, ElfError, ElfFile


def renamed(data: bytes, names: Mapping[bytes, bytes]) -> bytes:
    """The file with every library of ``names`` under its new name. Raises ElfError where that cannot be done."""
    changed = bytearray(data)
    try:
        elf = ElfFile(data)
        used = elf.all_strings()
        for offset in {*elf.strings(DT_NEEDED, DT_SONAME), *elf.version_files()}:
            old = data[offset : data.index(b"\0", offset)]
            new = names.get(old)
            if new is None:
                continue
            if len(new) > len(old) or any(offset < other <= offset + len(old) for other in used):
                raise ElfError(f"the name {old.decode()} cannot become {new.decode()}")
            changed[offset : offset + len(old)] = new.ljust(len(old), b"\0")
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"The libraries that an ELF file names cannot be renamed: {error}.") from error
    return bytes(changed)
