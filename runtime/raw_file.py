"""Bytes of an open file by their place, on every system."""

from __future__ import annotations

import os


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Up to ``length`` bytes at ``offset``: fewer only at the end of the file."""
    chunks = []
    while length > 0:
        if hasattr(os, "pread"):
            chunk = os.pread(descriptor, length, offset)
        else:  # Windows: the descriptor's position is nobody else's
            os.lseek(descriptor, offset, os.SEEK_SET)
            chunk = os.read(descriptor, length)
        if not chunk:
            break
        chunks.append(chunk)
        offset += len(chunk)
        length -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def advise(descriptor: int, advice: str) -> None:
    """Tell the system how the file will be read, by the name of an advice of ``posix_fadvise``."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, getattr(os, advice))
