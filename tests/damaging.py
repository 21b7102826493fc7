"""What tests do to files and bytes, to see it noticed."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path


def flip(path: Path, offset: int, bits: int = 0xFF) -> None:
    """Change bits of one byte of a file; a negative offset counts from its end."""
    with path.open("r+b") as file:
        place = file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bits]))


def changed_bytes(data: bytes, chance: random.Random, inserted: Sequence[bytes], repeated: Sequence[int]) -> bytes:
    """Change, remove and insert bytes at random places: one of ``inserted``, or the first ``repeated`` bytes again."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(changed) or 1)
        action = chance.randrange(4)
        if action == 0 and changed:
            changed[place] = chance.randrange(256)
        elif action == 1:
            del changed[place : place + chance.choice((1, 4, 40))]
        elif action == 2:
            changed[place:place] = chance.choice(inserted)
        else:
            changed[place:place] = changed[: chance.choice(repeated)]
    return bytes(changed)
