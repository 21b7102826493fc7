"""A model deep inside another file."""

from __future__ import annotations

import os
from pathlib import Path

from solofile.runtime.engine import Member

OFFSET = 20 * 65536  # bytes before the model in its host file


def host_file(folder: Path, model: Path) -> Member:
    """``model`` with noise before and after it, as one file."""
    host = folder / "host.bin"
    host.write_bytes(os.urandom(OFFSET) + model.read_bytes() + os.urandom(OFFSET))
    return Member("the-model.gguf", host, OFFSET, model.stat().st_size)
