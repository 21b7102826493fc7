"""The modes --verify and --extract, which read a bundle from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from solofile.runtime import integrity
from solofile.runtime.console import Meter, say
from solofile.runtime.container import Bundle


def verify(bundle: Bundle, out: TextIO) -> int:
    """Compare every byte with the manifest; say what is damaged. Returns the exit code."""
    meter = Meter("Verifying", integrity.total_bytes(bundle))
    damages = integrity.verify(bundle, meter)
    meter.end()
    for damage in damages:
        say(damage.what)
    if damages:
        return 2
    out.write(f"{bundle.path} is whole: {len(bundle.parts)} parts, {integrity.total_bytes(bundle)} bytes.\n")
    return 0


def extract(bundle: Bundle, folder: str, out: TextIO) -> int:
    """Write the parts below ``folder``; returns the exit code."""
    meter = Meter("Extracting", integrity.total_bytes(bundle))
    written = integrity.extract(bundle, Path(folder), meter)
    meter.end()
    out.write(f"Wrote {len(written)} files below {folder}.\n")
    return 0
