"""Reads a Cosmopolitan Python: an Actually Portable Executable with a ZIP at its end, which holds Python's library.

cosmofy (PyPI) has set the conventions that are kept here: packages go to ``Lib/site-packages`` of that ZIP, and a file
``.args`` at its root holds the arguments, one a line. Its own writer stamps members with the time of day and deflates
them, so its output differs from build to build; tests read with it what is written here.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from solofile.builder.behind import Entry, directory_entries
from solofile.builder.errors import BadInput

MAGICS = (b"MZqFpD='", b"jartsr='", b"APEDBG='", b"\x7fELF")
"""How such files begin; the last one is a copy that was made a program of one system (``--assimilate``)."""

SIZE_LIMIT = 512 << 20
LIBRARY = "Lib/"


def read_cosmo_python(path: Path) -> tuple[bytes, list[Entry]]:
    """The file up to the directory of its ZIP, and what that holds. Raises BadInput for what is none."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise BadInput(f"The Cosmopolitan Python {path} has more than {SIZE_LIMIT} bytes: give it without a model.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"The Cosmopolitan Python {path} cannot be read: {error.strerror}.") from error
    if not data.startswith(MAGICS):
        raise BadInput(f"{path} is no Actually Portable Executable: give --cosmo-python a Cosmopolitan Python.")
    try:
        local, entries = _taken_apart(path, data)
    except (zipfile.BadZipFile, ValueError) as error:
        raise BadInput(f"{path} holds no ZIP that can be read ({error}): give a Cosmopolitan Python.") from error
    if not any(entry.name.startswith(LIBRARY) for entry in entries):
        raise BadInput(f"{path} holds no Python, whose library is in {LIBRARY} of its ZIP: give a Cosmopolitan Python.")
    return local, entries


def _taken_apart(path: Path, data: bytes) -> tuple[bytes, list[Entry]]:
    with zipfile.ZipFile(path) as archive:
        first, count, start = archive.start_dir, len(archive.filelist), archive.filelist[:1]
    end = data.rindex(b"PK\5\6")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    entries = list(directory_entries(data[first : first + size]))
    if len(entries) != count or any(entry.offset == 0xFFFF_FFFF for entry in entries):
        raise ValueError("it has a directory of another kind than expected")
    # zipfile tells the true places; where a program was put before a ZIP they differ from what the entries say.
    shift = start[0].header_offset - entries[0].offset if start else 0
    return data[:first], [entry.moved(shift) for entry in entries]
