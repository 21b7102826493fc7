"""The launcher's own inflate, through whole bundles: all that zlib writes, and what single flipped bits make of it."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest
from synthetic_bundle import FOLDER, PROGRAM, Content, run, write_bundle

STRATEGIES = {
    "stored": (0, zlib.Z_DEFAULT_STRATEGY),
    "fast": (1, zlib.Z_DEFAULT_STRATEGY),
    "best": (9, zlib.Z_DEFAULT_STRATEGY),
    "fixed codes": (6, zlib.Z_FIXED),
    "no matches": (6, zlib.Z_HUFFMAN_ONLY),
    "runs": (6, zlib.Z_RLE),
}


def texts() -> dict[str, Content]:
    """Contents that reach every corner of DEFLATE: long and short matches, far and near, incompressible, tiny."""
    choice = random.Random(7)
    words = [bytes(choice.choices(range(97, 123), k=choice.randint(1, 9))) for _ in range(3000)]
    skewed = bytes(min(255, int(choice.expovariate(0.05))) for _ in range(300_000))
    far = choice.randbytes(32_768)
    return {
        "words": Content(b" ".join(choice.choices(words, k=30_000))),
        "skewed": Content(skewed),
        "far": Content(far * 9 + far[:100]),
        "near": Content(b"".join(choice.randbytes(n) * choice.randint(1, 300) for n in range(1, 60))),
        "noise": Content(choice.randbytes(200_000)),
        "zeros": Content(b"\0" * 1_000_000),
        "one": Content(b"x"),
        "none": Content(b""),
    }


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_every_kind_of_compression(
    launcher: Path, probe: bytes, cache: Path, tmp_path: Path, strategy: tuple[int, int]
) -> None:
    files = texts() | {PROGRAM: Content(probe, 0o755)}
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), files, compression=strategy)
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert (ended.code, ended.err) == (0, "")
    for name, content in files.items():
        assert (cache / "packs" / bundle.digest / name).read_bytes() == content.data, name


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_single_bits(launcher: Path, probe: bytes, cache: Path, tmp_path: Path, strategy: tuple[int, int]) -> None:
    """Wherever a bit flips, in a table, a length or mere padding, it is refused and never falls over.

    Another distance can lead to the same words. Then what is unpacked is right, and nothing is wrong.
    """
    text = texts()["words"]
    bundle = write_bundle(
        tmp_path / "b.exe", launcher.read_bytes(), {"text": text, PROGRAM: Content(probe, 0o755)}, compression=strategy
    )
    member = bundle.members[FOLDER + "text"]
    choice = random.Random(3)
    offsets = [*range(min(member.stored, 90)), member.stored - 1, *choice.choices(range(member.stored), k=50)]
    harmless = 0
    for count, offset in enumerate(offsets):
        bit = 1 << choice.randrange(8)
        bundle.flip(member.data_offset + offset, bit)
        own = cache / str(count)
        if (own_run := run([bundle.path], {"SOLOFILE_CACHE": own})).code == 0:
            assert (own / "packs" / bundle.digest / "text").read_bytes() == text.data
            harmless += 1
        else:
            assert (own_run.code, own_run.out) == (2, "")
            assert f"is damaged: {FOLDER}text " in own_run.err
            assert [path for path in own.glob("packs/*") if path.is_dir()] == []
        bundle.flip(member.data_offset + offset, bit)
    assert harmless < len(offsets) / 20
