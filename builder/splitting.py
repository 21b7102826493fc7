"""When a bundle is written as two files: one that is started, and its model beside it.

Windows starts no program of 4 GiB or more, and FAT32, which sticks often have, holds no such file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from solofile.builder.errors import BadInput
from solofile.builder.forms import named

WINDOWS_LIMIT = (1 << 32) - 1
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def split_limit(split: str | None, targets: Iterable[str]) -> int | None:
    """The bytes above which a bundle is split; None for no limit. Raises BadInput."""
    asked = None if split is None else parse_size(split)
    if any(target.startswith("windows") for target in targets):
        return WINDOWS_LIMIT if asked is None else min(asked, WINDOWS_LIMIT)
    return asked


def parse_size(text: str) -> int:
    """The bytes of a size such as ``4g``: one less than so many GiB, which is what fits where that is the limit."""
    match = re.fullmatch(r"(\d{1,12})([kmg]?)i?b?", text.strip().lower())
    if not match or not int(match[1]):
        raise BadInput(f"--split {text} is no size: give one such as 4g or 500m.")
    unit = _UNITS[match[2]]
    return int(match[1]) * unit - (1 if match[2] else 0)


def model_beside(output: Path) -> Path:
    """Where the model of a split bundle is written."""
    return output.with_name(f"{named(output)}.gguf")
