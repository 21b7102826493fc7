"""Thousands of bundles, wrong in random ways: each is read, or refused with a typed error, soon and in little memory.

What is changed lies behind digests that are made right again, so that the changes reach what interprets them.
``SOLOFILE_FUZZ=100000`` runs as many as the project's claims are about (some minutes).
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import Dissected
from damaging import changed_bytes
from solofile.runtime.archive import End, Member, directory_entry, end_records, local_header
from solofile.runtime.container import Bundle, comment_of
from solofile.runtime.errors import InputError
from solofile.runtime.integrity import verify

COUNT = int(os.environ.get("SOLOFILE_FUZZ", "3000"))
LONGEST = 1.0
"""Seconds that one may take."""
MEMORY = 500 << 20

NUMBERS = (0, 1, -1, 7, 0xFFFF, 0xFFFF_FFFE, 0xFFFF_FFFF, 0x1_0000_0000, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
TEXTS = ("", "x", "..", "../../etc/passwd", "/", "a/../b", "C:\\x", "\0", "ü" * 300, "x" * 70_000, "models/.align-9",
         "solofile.json", "launcher", "models/odd.gguf", "0" * 64, "linux-x86_64")  # fmt: skip


class Fuzzer:
    """Makes variants of one bundle, the part before the manifest being the same in each."""

    def __init__(self, bundle: Path, copy: Path) -> None:
        self.path = copy
        copy.write_bytes(bundle.read_bytes())
        self._parts = Dissected.of(bundle)
        self._start = self._parts.members[-1].header_offset
        self._descriptor = os.open(copy, os.O_RDWR)

    def write(self, seed: int) -> None:
        """Write the variant of that number."""
        chance = random.Random(seed)
        members, manifest = list(self._parts.members), self._parts.data[-1]
        kinds = chance.sample(("manifest", "text", "members", "directory", "end"), chance.choice((1, 1, 1, 2)))
        if "manifest" in kinds:
            document = json.loads(manifest)
            for _ in range(chance.choice((1, 1, 2, 5))):
                change_node(document, chance)
            manifest = json.dumps(document).encode()
        if "text" in kinds:
            manifest = changed_bytes(manifest, chance, INSERTED, REPEATED)
        size, crc = len(manifest), zlib.crc32(manifest)
        members[-1] = members[-1]._replace(crc=crc, stored=size, size=size)
        if "members" in kinds:
            members = changed_members(members, chance)
        directory = b"".join(map(encoded, members))
        if "directory" in kinds:
            directory = changed_bytes(directory, chance, INSERTED, REPEATED)
        head = local_header(self._parts.members[-1]._replace(crc=crc, stored=size, size=size))
        offset = self._start + len(head) + size
        records = end_records(End(len(members), offset, len(directory), comment_of(manifest, directory)))
        if "end" in kinds:
            records = changed_bytes(records, chance, INSERTED, REPEATED)
        tail = head + manifest + directory + records
        os.ftruncate(self._descriptor, self._start)
        os.pwrite(self._descriptor, tail, self._start)

    def close(self) -> None:
        os.close(self._descriptor)


def encoded(member: Member) -> bytes:
    """The directory's entry; that of a member whose numbers fit into no field is left out."""
    try:
        return directory_entry(member)
    except (struct.error, UnicodeEncodeError):
        return b""


def changed_members(members: list[Member], chance: random.Random) -> list[Member]:
    index = chance.randrange(len(members))
    if chance.random() < 0.2:
        other = chance.randrange(len(members))
        members[index], members[other] = members[other], members[index]
    elif chance.random() < 0.2:
        members.insert(index, members[chance.randrange(len(members))])
    elif chance.random() < 0.2 and len(members) > 1:
        del members[index]
    else:
        field = chance.choice(Member._fields)
        value: Any = chance.choice(TEXTS) if field == "path" else abs(chance.choice(NUMBERS))
        members[index] = members[index]._replace(**{field: value})
    return members


INSERTED = (b"\0", b"\xff" * 4, b"[" * 20_000, b'{"a":' * 5_000, b"9" * 5_000)
REPEATED = (1, 46, 500)


def change_node(document: Any, chance: random.Random) -> None:
    """Change something at a random place of a JSON document."""
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = chance.choice(keys)
        if not isinstance(node[key], (dict, list)) or chance.random() < 0.3:
            break
        node = node[key]
    action = chance.randrange(5)
    if action == 0:
        del node[key]
    elif action == 1 and isinstance(node, dict):
        node[chance.choice(TEXTS)] = node[key]
    elif action == 2 and isinstance(node, list):
        node.extend([node[key]] * chance.choice((1, 1000)))
    else:
        node[key] = chance.choice((*NUMBERS, *TEXTS, None, True, 1.5, float("inf"), [], {}, [[[[]]]], {"x": {}}))


def worst(count: int, one: Callable[[int], object]) -> tuple[int, float]:
    """How many of ``count`` were refused, and the longest time that one took."""
    refused, longest = 0, 0.0
    for number in range(count):
        start = time.perf_counter()
        try:
            one(number)
        except InputError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"the bundle of number {number} was met with {error!r}") from error
        longest = max(longest, time.perf_counter() - start)
    return refused, longest


@pytest.mark.timeout(3600)
def test_fuzzed_bundles(bundle: Path, tmp_path: Path) -> None:
    fuzzer = Fuzzer(bundle, tmp_path / "x.exe")
    read = []

    def one(number: int) -> None:
        fuzzer.write(number)
        with Bundle.open(fuzzer.path) as opened:
            read.append(number)
            verify(opened)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, longest = worst(COUNT, one)
    fuzzer.close()
    assert longest < LONGEST
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= max(before, MEMORY >> 10)
    assert refused + len(read) == COUNT
    assert COUNT // 50 < len(read) < COUNT // 2, "the changes reach too little"
