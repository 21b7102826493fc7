"""Thousands of GGUFs, wrong in random ways: each is judged, or refused with a typed error, soon and in little memory.

``SOLOFILE_FUZZ=100000`` runs as many as the project's claims are about (some minutes).
"""

from __future__ import annotations

import os
import random
import resource
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from damaging import changed_bytes
from ggufs import text
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.gguf_header import MAX_STRINGS, MAX_TENSORS

COUNT = int(os.environ.get("SOLOFILE_FUZZ", "3000"))
LONGEST = 1.0
"""Seconds that one may take."""
MEMORY = 500 << 20

NUMBERS = (0, 1, 2, 7, 31, 33, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62,
           1 << 63, (1 << 64) - 1)  # fmt: skip
NAMES = ("", "x", "general.alignment", "general.architecture", "tokenizer.ggml.tokens", "token_embd.weight", "ü" * 40,
         "n" * 70_000, "\0", "split.count")  # fmt: skip
SIZES = (1 << 20, 1 << 28, 1 << 34, 1 << 42)
"""Bytes to which a file is lengthened by nothing: huge counts find something there."""

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


@dataclass
class Entry:
    """One metadata entry: its parts as bytes, so that each can be wrong by itself."""

    key: bytes
    kind: int
    value: bytes

    def encoded(self) -> bytes:
        return self.key + struct.pack("<I", self.kind) + self.value


@dataclass
class Info:
    """What a GGUF says of one tensor."""

    name: bytes
    shape: list[int]
    kind: int
    offset: int
    dimensions: int | None = None

    def encoded(self) -> bytes:
        count = len(self.shape) if self.dimensions is None else self.dimensions
        numbers = (struct.pack("<Q", one) for one in self.shape)
        return self.name + struct.pack("<I", count) + b"".join(numbers) + struct.pack("<IQ", self.kind, self.offset)


@dataclass
class Draft:
    """A GGUF before it is written."""

    entries: list[Entry] = field(default_factory=list)
    infos: list[Info] = field(default_factory=list)
    version: int = 3
    counts: tuple[int, int] | None = None

    def encoded(self) -> bytes:
        tensors, entries = self.counts or (len(self.infos), len(self.entries))
        head = b"GGUF" + struct.pack("<IQQ", self.version & 0xFFFF_FFFF, tensors, entries)
        return head + b"".join(one.encoded() for one in (*self.entries, *self.infos))


def entry(key: str, kind: int, value: bytes) -> Entry:
    return Entry(text(key), kind, value)


def strings(count: int) -> bytes:
    return struct.pack("<IQ", STRING, count) + b"".join(text(f"word {number}") for number in range(count))


def sound() -> Draft:
    """A model as the real ones are, but small."""
    numbers = {"context_length": 2048, "embedding_length": 64, "block_count": 2, "attention.head_count": 4}
    return Draft(
        [
            entry("general.architecture", STRING, text("llama")),
            entry("general.name", STRING, text("fuzzed")),
            entry("general.alignment", U32, struct.pack("<I", 32)),
            entry("general.file_type", U32, struct.pack("<I", 7)),
            *(entry(f"llama.{key}", U32, struct.pack("<I", value)) for key, value in numbers.items()),
            entry("llama.attention.head_count_kv", ARRAY, struct.pack("<IQ2I", U32, 2, 2, 4)),
            entry("tokenizer.ggml.model", STRING, text("gpt2")),
            entry("tokenizer.ggml.tokens", ARRAY, strings(40)),
            entry("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ40f", F32, 40, *range(40))),
            entry("tokenizer.ggml.merges", ARRAY, strings(3)),
            entry("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 1)),
            entry("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
            entry("tokenizer.chat_template", STRING, text("{{ messages }}")),
        ],
        [
            Info(text("token_embd.weight"), [32, 34], 8, 0),
            Info(text("output_norm.weight"), [32, 3], 0, 1184),
            Info(text("blk.0.attn_q.weight"), [64, 4], 2, 1568),
        ],
    )


def change_entry(draft: Draft, chance: random.Random) -> None:
    if not draft.entries:
        return
    place = chance.randrange(len(draft.entries))
    one = draft.entries[place]
    action = chance.randrange(7)
    if action == 0:
        one.kind = chance.choice((*range(14), 77, 0xFFFF_FFFF))
    elif action == 1:
        one.key = text(chance.choice(NAMES))
    elif action == 2:
        one.key = struct.pack("<Q", chance.choice(NUMBERS)) + one.key[8:]
    elif action == 3:
        draft.entries.insert(place, Entry(one.key, one.kind, one.value))
    elif action == 4:
        del draft.entries[place]
    elif action == 5:
        one.kind, one.value = ARRAY, struct.pack("<IQ", chance.choice((*range(14), 99)), chance.choice(NUMBERS))
    else:
        one.value = changed_bytes(one.value, chance, INSERTED, REPEATED)


def change_info(draft: Draft, chance: random.Random) -> None:
    if not draft.infos:
        return
    place = chance.randrange(len(draft.infos))
    one = draft.infos[place]
    action = chance.randrange(7)
    if action == 0:
        one.shape[chance.randrange(len(one.shape))] = chance.choice(NUMBERS)
    elif action == 1:
        one.kind = chance.choice((*range(45), 0xFFFF_FFFF))
    elif action == 2:
        one.offset = chance.choice((*NUMBERS, one.offset - 32, one.offset + 32)) % (1 << 64)
    elif action == 3:
        one.name = text(chance.choice(NAMES))
    elif action == 4:
        one.dimensions = chance.choice((0, 1, 3, 4, 5, 255, 0xFFFF_FFFF))
    elif action == 5:
        draft.infos.insert(place, Info(one.name, list(one.shape), one.kind, one.offset))
    else:
        one.shape.extend([chance.choice(NUMBERS)] * chance.choice((1, 2)))


def change_head(draft: Draft, chance: random.Random) -> None:
    if chance.random() < 0.3:
        draft.version = chance.choice(NUMBERS)
        return
    counts = [len(draft.infos), len(draft.entries)]
    counts[chance.randrange(2)] = chance.choice((*NUMBERS, 100, 4096, 65_536))
    draft.counts = counts[0], counts[1]


def many(draft: Draft, chance: random.Random) -> None:
    """As many of something as the reader takes, or a few more."""
    count = chance.choice((1000, 4000, 5000))
    if chance.random() < 0.5:
        draft.entries += [entry(f"key.{number}", U64, bytes(8)) for number in range(count)]
    else:
        draft.infos = [Info(text(f"t.{number}"), [8], 0, 32 * number) for number in range(7 * count)]


INSERTED = (b"\0", b"\xff" * 4, bytes(4096), struct.pack("<Q", 1 << 63))
REPEATED = (1, 8, 500)


class Fuzzer:
    """Writes one GGUF after the other to the same file."""

    CHANGES: tuple[Callable[[Draft, random.Random], None], ...] = (change_entry, change_info, change_head)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w+b", buffering=0)

    def write(self, seed: int) -> None:
        """Write the variant of that number."""
        chance = random.Random(seed)
        draft = sound()
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            chance.choice(self.CHANGES)(draft, chance)
        if chance.random() < 0.002:
            many(draft, chance)
        data = draft.encoded()
        if chance.random() < 0.4:
            data = changed_bytes(data, chance, INSERTED, REPEATED)
        if chance.random() < 0.1:
            data = data[: chance.randrange(len(data) + 1)]
        self._file.seek(0)
        self._file.truncate(0)
        self._file.write(data)
        self._file.truncate(len(data) + 8192 if chance.random() < 0.7 else max(len(data), chance.choice(SIZES)))

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def fuzzer(tmp_path: Path) -> Fuzzer:
    return Fuzzer(tmp_path / "m.gguf")


def judged(path: Path) -> ModelFacts | None:
    try:
        return check_model(path)
    except BadModel as error:
        assert str(error).startswith(str(path)) and str(error).endswith(".")
        return None


def timed(path: Path) -> tuple[float, bool]:
    """The seconds of CPU that it took to judge a file, and whether it was taken: what else runs does not count."""
    start = time.process_time()
    good = judged(path) is not None
    return time.process_time() - start, good


@pytest.mark.timeout(3600)
def test_fuzzed_headers(fuzzer: Fuzzer) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken, longest, total = 0, 0.0, 0.0
    for number in range(COUNT):
        fuzzer.write(number)
        try:
            elapsed, good = timed(fuzzer.path)
        except BaseException as error:
            raise AssertionError(f"the GGUF of number {number} was met with {error!r}") from error
        taken += good
        longest, total = max(longest, elapsed), total + elapsed
    fuzzer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{COUNT} headers, {taken} taken, {total:.1f} s, the longest {longest:.3f} s, peak {peak >> 10} MiB")
    assert longest < LONGEST
    assert peak <= max(before, MEMORY >> 10)
    assert COUNT // 20 < taken < COUNT // 2, "the changes reach too little"


@pytest.mark.parametrize("length", [0, 1 << 20])
def test_strings_without_end(tmp_path: Path, length: int) -> None:
    """Lists of strings in a file that goes on for ever, each string empty or so long that it is passed over."""
    draft = sound()
    head = struct.pack("<IQ", STRING, MAX_STRINGS - 43)
    one = struct.pack("<Q", length)
    draft.entries.append(Entry(text("a"), ARRAY, head))
    path = tmp_path / "m.gguf"
    draft.infos.clear()
    path.write_bytes(draft.encoded())
    with path.open("r+b") as file:
        for number in range(400):  # the rest of the file is zeros: empty strings
            file.seek(path.stat().st_size if number == 0 else 0, os.SEEK_END if number else os.SEEK_SET)
            file.write(one)
            file.truncate(file.tell() + length)
        file.truncate(1 << 42)
    elapsed, good = timed(path)
    assert not good
    assert elapsed < LONGEST


def test_the_most_that_a_header_may_hold(tmp_path: Path) -> None:
    """What is just below each limit is read in time too."""
    draft = sound()
    draft.entries.append(Entry(text("a"), ARRAY, struct.pack("<IQ", STRING, MAX_STRINGS - 43) + bytes(8 * MAX_STRINGS)))
    draft.entries[-1].value = draft.entries[-1].value[: 12 + 8 * (MAX_STRINGS - 43)]
    draft.infos = [Info(text(f"blk.{number}.ffn_gate.weight"), [8], 0, 32 * number) for number in range(MAX_TENSORS)]
    path = tmp_path / "m.gguf"
    path.write_bytes(draft.encoded() + bytes(32 * (MAX_TENSORS + 1)))
    elapsed, good = timed(path)
    assert good
    assert elapsed < LONGEST
