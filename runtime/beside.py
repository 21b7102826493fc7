"""Parts that lie in a file beside the bundle: a model that would make it too large to be started (FORMAT.md)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from solofile.runtime.ending import damaged
from solofile.runtime.errors import InputError
from solofile.runtime.manifest import Manifest, Part
from solofile.runtime.manifest_beside import Beside

EDGE = 65_536
"""Bytes at each end of the file that every start compares: two models are often of one size."""

CHUNK = 1 << 20


def parts(manifest: Manifest) -> list[Part]:
    """These parts, as the manifest's others are; what they say of places is true of their own files."""
    return [Part(one.path, 0, one.size, one.size, one.sha256) for one in manifest.beside]


def place(bundle: str, one: Beside) -> Path:
    """Where the file is."""
    return Path(bundle).with_name(one.file)


def check(bundle: str, manifest: Manifest) -> None:
    """Each file is there, of its size, and begins and ends as it should. Raises InputError, DamagedBundle."""
    for one in manifest.beside:
        file = place(bundle, one)
        try:
            found, size = ends(file)
        except OSError as error:
            why = f"which cannot be read ({error.strerror})"
            raise InputError(f"{bundle} needs {one.file} beside it, {why}: keep both files together.") from error
        if size != one.size:
            raise damaged(str(file), f"it has {size} bytes in place of {one.size}")
        if found != one.ends:
            raise damaged(str(file), f"it is not the file that belongs to {Path(bundle).name}")


def ends(file: Path) -> tuple[str, int]:
    """The SHA-256 over the first and the last ``EDGE`` bytes of a file, and its size. Raises OSError."""
    with file.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        first = opened.read(EDGE)
        opened.seek(max(0, size - EDGE))
        return hashlib.sha256(first + opened.read(EDGE)).hexdigest(), size


def chunks(bundle: str, one: Beside) -> Iterator[bytes]:
    """The bytes of the file, at most ``CHUNK`` at a time. Raises InputError."""
    file = place(bundle, one)
    try:
        with file.open("rb", buffering=0) as opened:
            while chunk := opened.read(CHUNK):
                yield chunk
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
