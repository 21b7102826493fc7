"""Every changed byte of a bundle is noticed: refused when it is opened, or named by verify."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from bundles import make_bundle, make_pack, pack_files
from solofile.builder.packfile import PackSource
from solofile.runtime.archive import DEFLATED, END_SIZE, header_size
from solofile.runtime.container import COMMENT_SIZE, TAIL_SIZE, Bundle
from solofile.runtime.errors import InputError
from solofile.runtime.integrity import PACKED, verify

SAMPLES = 40
"""Random positions in the data of each part."""


class Victim:
    """A copy of a bundle in which bytes are changed and set right again."""

    def __init__(self, bundle: Path, copy: Path) -> None:
        copy.write_bytes(bundle.read_bytes())
        self.path = copy
        self.size = copy.stat().st_size
        self._descriptor = os.open(copy, os.O_RDWR)

    def noticed(self, offset: int, mask: int) -> set[str]:
        """The parts that verify names when the bits of ``mask`` are flipped; ``unopened`` where it is refused."""
        original = os.pread(self._descriptor, 1, offset)
        os.pwrite(self._descriptor, bytes([original[0] ^ mask]), offset)
        try:
            with Bundle.open(self.path) as bundle:
                return {damage.path for damage in verify(bundle)}
        except InputError:
            return {"unopened"}
        finally:
            os.pwrite(self._descriptor, original, offset)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, models: list[Path]) -> Path:
    """A bundle with padding before, between and behind its models, and with texts of equal runs."""
    folder = tmp_path_factory.mktemp("flips")
    runs = PackSource("native/linux-x86_64/libggml-cpu-runs.so", b"a" * 3000 + b"ab" * 2000 + b"xyz" * 500)
    make_pack(folder / "pack.zip", [*pack_files(), runs]).close()
    make_bundle(folder / "tiny.exe", folder / "pack.zip", models)
    return folder / "tiny.exe"


@pytest.fixture
def victim(source: Path, tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(source, tmp_path / "x.exe")
    yield victim
    with Bundle.open(victim.path) as bundle:  # every byte was set right again
        assert verify(bundle) == []
    victim.close()


def unnoticed(victim: Victim, offsets: Iterable[int], masks: Iterable[int]) -> list[tuple[int, int]]:
    return [(offset, mask) for offset in offsets for mask in masks if not victim.noticed(offset, mask)]


def test_every_byte_of_directory_manifest_and_end_records(victim: Victim) -> None:
    with Bundle.open(victim.path) as bundle:
        start = bundle.members["solofile.json"].header_offset
    assert victim.size - start > 3000 + END_SIZE + COMMENT_SIZE
    for offset in range(start, victim.size):
        mask = 1 << offset % 8
        assert victim.noticed(offset, mask) == {"unopened"}, (offset, mask)
    assert unnoticed(victim, range(victim.size - TAIL_SIZE, victim.size), (0x02, 0x80, 0xFF)) == []


def test_every_byte_of_local_headers(victim: Victim) -> None:
    with Bundle.open(victim.path) as bundle:
        members = list(bundle.members.values())[:-1]
    for member in members:
        for offset in range(member.header_offset, member.data_offset):
            assert victim.noticed(offset, 1 << offset % 8) == {member.path}, (member.path, offset)
        assert member.data_offset - member.header_offset == header_size(member.path, member.stored, member.size)


def test_boundaries_and_random_bytes_of_every_part(victim: Victim) -> None:
    """Launcher, compressed and stored members, licenses, models, and the zeros between them."""
    chance = random.Random(20)
    with Bundle.open(victim.path) as bundle:
        parts = [part for part in bundle.parts.values() if part.stored]
    roots = {part.path.split("/")[0] for part in parts}
    assert roots == {"launcher", "runtime", "native", "LICENSES", "models"}
    assert sum(part.path.startswith("models/.align-") for part in parts) == 2
    for part in parts:
        last = part.offset + part.stored - 1
        inside = [chance.randrange(part.offset, last + 1) for _ in range(SAMPLES)]
        for offset in {part.offset, last, *inside}:
            for mask in (1 << chance.randrange(8), 0xFF):
                found = victim.noticed(offset, mask)
                assert found in ({part.path}, {PACKED}), (part.path, offset, mask, found)


def test_every_bit_of_compressed_bytes(victim: Victim) -> None:
    """The last bits of a DEFLATE stream mean nothing, and some changes unpack to the same bytes: noticed as well."""
    with Bundle.open(victim.path) as bundle:
        deflated = [member for member in bundle.members.values() if member.method == DEFLATED]
    offsets = [offset for member in deflated for offset in range(member.data_offset, member.end)]
    alike = set()
    for offset in random.Random(4).sample(offsets, 300):
        for bit in range(8):
            found = victim.noticed(offset, 1 << bit)
            assert found, (offset, bit)
            alike |= found & {PACKED}
    for member in deflated:
        found = victim.noticed(member.end - 1, 0x80)
        assert found, member.path
        alike |= found & {PACKED}
    assert alike == {PACKED}, "no change was found that unpacks to the same bytes, so that this test shows nothing"


def test_bytes_that_are_added_or_missing(source: Path, tmp_path: Path) -> None:
    data = source.read_bytes()
    wrong = [data + b"\0", b"\0" + data, data[:-1], data[1:], data[: len(data) // 2], data[:100], b""]
    for changed in wrong:
        (tmp_path / "y.exe").write_bytes(changed)
        with pytest.raises(InputError):
            Bundle.open(tmp_path / "y.exe")
