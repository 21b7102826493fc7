"""The reader opens what the writer writes, and refuses everything else with a sentence that says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import LAUNCHER, Dissected, make_bundle, make_pack, pack_files
from solofile.builder.packfile import PackSource
from solofile.runtime.archive import Member, directory_entry, local_header
from solofile.runtime.container import COMMENT_SIZE, TAIL_SIZE, Bundle
from solofile.runtime.errors import DamagedBundle, InputError, UnknownName
from solofile.runtime.manifest import MANIFEST_NAME

SUMS = "runtime/linux-x86_64.sums"


@pytest.fixture
def parts(bundle: Path) -> Dissected:
    return Dissected.of(bundle)


def refuse(path: Path, says: str) -> None:
    with pytest.raises(DamagedBundle, match=says) as caught:
        Bundle.open(path)
    assert str(path) in str(caught.value)
    assert "copy or download" in str(caught.value)


def test_reads_what_was_written(bundle: Path, models: list[Path]) -> None:
    with Bundle.open(bundle) as opened:
        assert opened.read("launcher") == LAUNCHER
        for file in pack_files():
            assert opened.read(file.path) == file.source
            assert opened.members[file.path].mode == file.mode
        for model in models:
            offset = opened.data_offset(f"models/{model.name}")
            assert offset % 65_536 == 0
            assert bundle.read_bytes()[offset : offset + model.stat().st_size] == model.read_bytes()
            assert b"".join(opened.open_part(f"models/{model.name}")) == model.read_bytes()
        assert opened.manifest.default_model == "models/odd.gguf"
        assert list(opened.parts) == ["launcher", *list(opened.members)[:-1]]
        assert opened.manifest.targets["linux-x86_64"].pack == opened.parts[SUMS].sha256


def test_put_together_again_it_is_the_same(bundle: Path, parts: Dissected, tmp_path: Path) -> None:
    """The tests below change one thing each in what this one leaves as it is."""
    assert parts.write(tmp_path / "same.exe").read_bytes() == bundle.read_bytes()


def test_opening_touches_no_page_of_a_model(parts: Dissected) -> None:
    """The header of the manifest, and that of a second model, lie in other blocks than a model's end."""
    for index, member in enumerate(parts.members[:-1]):
        if member.path.endswith(".gguf"):
            follower = parts.members[index + 1]
            if follower.path.startswith("models/.align"):
                follower = parts.members[index + 2]
            assert follower.header_offset // 65_536 > (member.end - 1) // 65_536


@pytest.mark.parametrize("missing", [1, 75, 100, 173, 174, 3000, 70_000])
def test_cut_short(bundle: Path, tmp_path: Path, missing: int) -> None:
    path = tmp_path / "cut.exe"
    path.write_bytes(bundle.read_bytes()[:-missing])
    refuse(path, "cut short")


def test_bytes_added(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "longer.exe"
    path.write_bytes(bundle.read_bytes() + b"\n")
    refuse(path, "no bundle, or was cut short")


@pytest.mark.parametrize("contents", [b"", b"x", b"PK\6\6" * 100, b"GGUF" + bytes(1000)])
def test_something_else(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "else.exe"
    path.write_bytes(contents)
    refuse(path, str(path))


def test_every_flipped_byte_of_the_end_is_noticed(bundle: Path, parts: Dissected, tmp_path: Path) -> None:
    """From the header of the manifest to the last byte of the comment, one flipped bit in each."""
    good = bundle.read_bytes()
    path = tmp_path / "flipped.exe"
    step = 13
    for position in range(parts.members[-1].header_offset, len(good), step):
        path.write_bytes(good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :])
        with pytest.raises(InputError):
            Bundle.open(path)


@pytest.mark.parametrize(
    ("offset", "says"),
    [(-1, "directory, its manifest or the digest"), (-COMMENT_SIZE, "comment"), (-TAIL_SIZE - 20, "directory")],
    ids=["comment's digest", "comment's magic", "directory"],
)
def test_flipped_byte(bundle: Path, tmp_path: Path, offset: int, says: str) -> None:
    data = bytearray(bundle.read_bytes())
    data[offset] ^= 1
    path = tmp_path / "flipped.exe"
    path.write_bytes(bytes(data))
    refuse(path, says)


def test_flipped_byte_of_the_manifest(bundle: Path, parts: Dissected, tmp_path: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[parts.members[-1].data_offset + 100] ^= 1
    path = tmp_path / "flipped.exe"
    path.write_bytes(bytes(data))
    refuse(path, "its manifest was changed")


def test_manifest_changed_with_its_crc(parts: Dissected, tmp_path: Path, bundle: Path) -> None:
    comment = bundle.read_bytes()[-COMMENT_SIZE:]
    parts.change_manifest(lambda document: document.update(title="Other"))
    refuse(parts.write(tmp_path / "x.exe", comment=comment), "directory, its manifest or the digest")


def test_gap(parts: Dissected, tmp_path: Path) -> None:
    for index in range(3, len(parts.members)):
        parts.members[index] = parts.members[index]._replace(header_offset=parts.members[index].header_offset + 65_536)
    refuse(parts.write(tmp_path / "x.exe"), "leaves a gap behind")


def test_gap_before_the_directory(parts: Dissected, tmp_path: Path) -> None:
    path = parts.write(
        tmp_path / "x.exe",
        end=lambda end: end._replace(directory_offset=end.directory_offset + 10),
    )
    refuse(path, "bytes are missing or were added")


def test_overlap(parts: Dissected, tmp_path: Path) -> None:
    index = parts.index(SUMS)
    shorter = parts.members[index - 1]
    for later in range(index, len(parts.members)):
        moved = parts.members[later].header_offset - shorter.stored
        parts.members[later] = parts.members[later]._replace(header_offset=moved)
    refuse(parts.write(tmp_path / "x.exe"), f"{SUMS} overlaps")


def test_two_members_with_one_name(parts: Dissected, tmp_path: Path) -> None:
    second = parts.members[1]
    parts.members[1] = second._replace(path=parts.members[0].path)
    parts.place()
    refuse(parts.write(tmp_path / "x.exe"), "names .* twice")


@pytest.mark.parametrize("path", ["../evil", "runtime/../../evil", "/etc/evil", "runtime//evil", "runtime\\evil"])
def test_unsafe_path(parts: Dissected, tmp_path: Path, path: str) -> None:
    parts.members[0] = parts.members[0]._replace(path=path)
    parts.place()
    refuse(parts.write(tmp_path / "x.exe"), "unsafe path")


def test_member_of_no_known_folder(parts: Dissected, tmp_path: Path) -> None:
    parts.members[0] = parts.members[0]._replace(path="etc/passwd")
    parts.place()
    refuse(parts.write(tmp_path / "x.exe"), "etc/passwd is no part that a bundle can have")


def test_manifest_not_last(parts: Dissected, tmp_path: Path) -> None:
    parts.members[-1], parts.members[-2] = parts.members[-2], parts.members[-1]
    parts.data[-1], parts.data[-2] = parts.data[-2], parts.data[-1]
    parts.place()
    refuse(parts.write(tmp_path / "x.exe"), f"in place of {MANIFEST_NAME}")


@pytest.mark.parametrize("method", [1, 9, 12, 99])
def test_unknown_method(parts: Dissected, tmp_path: Path, method: int) -> None:
    parts.members[0] = parts.members[0]._replace(method=method)
    refuse(parts.write(tmp_path / "x.exe"), "stored in a way")


def test_stored_sizes_that_differ(parts: Dissected, tmp_path: Path) -> None:
    index = parts.index("models/odd.gguf")
    parts.members[index] = parts.members[index]._replace(size=parts.members[index].size + 1)
    refuse(parts.write(tmp_path / "x.exe"), "stored in a way")


def test_oversized_directory(parts: Dissected, tmp_path: Path) -> None:
    path = parts.write(tmp_path / "x.exe", end=lambda end: end._replace(directory_size=1 << 40))
    refuse(path, "more than there can be")


def test_oversized_manifest(parts: Dissected, tmp_path: Path) -> None:
    data = b" " * (4 << 20) + parts.data[-1]
    parts.data[-1] = data
    parts.members[-1] = parts.members[-1]._replace(stored=len(data), size=len(data), crc=zlib.crc32(data))
    refuse(parts.write(tmp_path / "x.exe"), "manifest claims")


def test_extra_field_where_none_belongs(parts: Dissected, tmp_path: Path) -> None:
    """A field that other programs pass over could hide something."""
    entries = [bytearray(directory_entry(member)) for member in parts.members]
    entries[0][30] = 8
    entries[0] += b"\x99\x99\4\0abcd"
    refuse(parts.write(tmp_path / "x.exe", directory=b"".join(map(bytes, entries))), "does not write")


@pytest.mark.parametrize(
    "field", [8, 32, 34, 36, 4, 6], ids=["flags", "comment", "disk", "internal", "made by", "needed"]
)
def test_directory_field_that_a_builder_does_not_set(parts: Dissected, tmp_path: Path, field: int) -> None:
    entries = [bytearray(directory_entry(member)) for member in parts.members]
    entries[0][field] ^= 1
    refuse(parts.write(tmp_path / "x.exe", directory=b"".join(map(bytes, entries))), "directory")


def test_model_that_is_not_aligned(parts: Dissected, tmp_path: Path) -> None:
    index = parts.index("models/.align-1")
    padding = parts.members[index]
    shorter = padding._replace(
        stored=padding.stored - 1, size=padding.size - 1, crc=zlib.crc32(bytes(padding.size - 1))
    )
    parts.members[index], parts.data[index] = shorter, parts.data[index][:-1]
    parts.place()

    def follow(document: dict[str, object]) -> None:
        entries = document["parts"]
        assert isinstance(entries, list)
        for entry, member in zip(entries[1:], parts.members, strict=False):
            entry.update(offset=member.data_offset, stored=member.stored, size=member.size)

    parts.change_manifest(follow)
    refuse(parts.write(tmp_path / "x.exe"), "models/odd.gguf does not begin at a multiple of 65536")


def change_parts(change: Callable[[list[dict[str, object]]], object]) -> Callable[[dict[str, object]], None]:
    def run(document: dict[str, object]) -> None:
        entries = document["parts"]
        assert isinstance(entries, list)
        change(entries)

    return run


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda entries: entries.pop(2), "does not name the part runtime/linux-x86_64/_internal/empty.py"),
        (lambda entries: entries.append({**entries[1], "path": "native/x"}), "names the part native/x, which is not"),
        (lambda entries: entries.append(entries[1]), "disagree"),
        (lambda entries: entries[1].update(offset=0), "disagree about runtime/linux-x86_64/_internal/base_library.zip"),
        (lambda entries: entries[3].update(size=1), "disagree about runtime/linux-x86_64/native/libllama.so"),
        (lambda entries: entries[0].update(stored=1), "disagree about launcher"),
    ],
    ids=["missing", "extra", "twice", "offset", "size", "launcher"],
)
def test_parts_of_the_manifest(
    parts: Dissected, tmp_path: Path, change: Callable[[list[dict[str, object]]], object], says: str
) -> None:
    parts.change_manifest(change_parts(change))
    refuse(parts.write(tmp_path / "x.exe"), says)


def test_model_of_another_size(parts: Dissected, tmp_path: Path) -> None:
    def change(document: dict[str, object]) -> None:
        models = document["models"]
        assert isinstance(models, list)
        models[1]["size"] += 1

    parts.change_manifest(change)
    refuse(parts.write(tmp_path / "x.exe"), "disagree about models/even.gguf")


def test_pack_digest_that_is_not_the_one_of_the_sums(parts: Dissected, tmp_path: Path) -> None:
    def change(document: dict[str, object]) -> None:
        targets = document["targets"]
        assert isinstance(targets, dict)
        targets["linux-x86_64"]["pack"] = "0" * 64

    parts.change_manifest(change)
    refuse(parts.write(tmp_path / "x.exe"), f"pack digest of linux-x86_64 is not that of {SUMS}")


@pytest.mark.parametrize("field", ["crc", "method", "stored", "size", "path", "stamp"])
def test_local_header_that_disagrees(parts: Dissected, tmp_path: Path, field: str) -> None:
    """It is read with the part: opening would have to touch a page of each member."""

    def local(member: Member) -> bytes:
        if member.path == SUMS:
            values = list(member)
            index = member._fields.index(field)
            values[index] = "runtime/linux-x86_64.SUMS" if field == "path" else int(getattr(member, field)) ^ 8
            return local_header(Member._make(values))
        return local_header(member)

    with Bundle.open(parts.write(tmp_path / "x.exe", local=local)) as opened:
        with pytest.raises(DamagedBundle, match=f"header of {SUMS} disagrees"):
            opened.read(SUMS)
        with pytest.raises(DamagedBundle, match=f"header of {SUMS} disagrees"):
            opened.data_offset(SUMS)
        with pytest.raises(DamagedBundle, match=f"header of {SUMS} disagrees"):
            opened.check_headers()
        assert opened.read("launcher") == LAUNCHER


def compressed(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda data: compressed(data + b"x"), "longer than the manifest says"),
        (lambda _: compressed(bytes(20 << 20)), "longer than the manifest says"),
        (lambda data: compressed(data[:-1]), "bytes in place of"),
        (lambda data: compressed(data)[:-2], "does not end where"),
        (lambda data: compressed(data) + b"junk", "does not end where"),
        (lambda _: b"\xff" * 50, "does not decompress"),
        (lambda data: compressed(b"x" + data[1:]), "SHA-256 differs"),
    ],
    ids=["longer", "bomb", "shorter", "cut", "junk behind", "no deflate", "other contents"],
)
def test_compressed_part_that_is_not_what_it_says(
    parts: Dissected, tmp_path: Path, make: Callable[[bytes], bytes], says: str
) -> None:
    index = parts.index(SUMS)
    stored = make(zlib.decompress(parts.data[index], -15))
    parts.data[index] = stored
    parts.members[index] = parts.members[index]._replace(stored=len(stored))
    for later in range(index + 1, len(parts.members)):
        before = parts.members[later - 1]
        member = parts.members[later]._replace(header_offset=before.end)
        if member.path == "models/.align-1":  # keeps what follows in its place
            member = member._replace(size=member.size + 254 - len(stored), stored=member.stored + 254 - len(stored))
        parts.members[later] = member

    def follow(entries: list[dict[str, object]]) -> None:
        for entry, member in zip(entries[1:], parts.members, strict=False):
            entry.update(offset=member.data_offset, stored=member.stored, size=member.size)

    parts.place()
    parts.change_manifest(change_parts(follow))
    path = parts.write(tmp_path / "x.exe")
    try:
        opened = Bundle.open(path)
    except DamagedBundle as error:
        pytest.fail(f"the test built something else: {error}")
    with opened, pytest.raises(DamagedBundle, match=says):
        opened.read(SUMS)


def test_newer_format(bundle: Path, parts: Dissected, tmp_path: Path) -> None:
    parts.change_manifest(lambda document: document.update(format=2))
    path = parts.write(tmp_path / "x.exe")
    with pytest.raises(InputError, match=r"newer solofile \(format 2, this one reads 1\)"):
        Bundle.open(path)
    path.write_bytes(bundle.read_bytes()[:-COMMENT_SIZE] + b"solofile 2 " + b"0" * 80)
    with pytest.raises(InputError, match=r"newer solofile \(format 2, this one reads 1\)"):
        Bundle.open(path)


def test_unknown_part_names_the_nearest(bundle: Path) -> None:
    with Bundle.open(bundle) as opened, pytest.raises(UnknownName, match=r"did you mean models/odd\.gguf"):
        opened.read("models/odd.guff")


def test_large_part_is_not_read_whole(bundle: Path) -> None:
    with Bundle.open(bundle) as opened, pytest.raises(InputError, match="open_part"):
        opened.read("models/odd.gguf", limit=1000)


@pytest.mark.skipif(os.name != "posix", reason="POSIX errors")
def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        Bundle.open(tmp_path / "none.exe")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Bundle.open(tmp_path)


def test_opening_is_fast(tmp_path: Path, models: list[Path]) -> None:
    """300 members in under 5 ms on a desktop; the limit here leaves room for a busy machine."""
    folder = "runtime/linux-x86_64/_internal"
    files = [PackSource(f"{folder}/module_{number:03}.so", os.urandom(100)) for number in range(300)]
    make_pack(tmp_path / "pack.zip", [*pack_files(), *files]).close()
    make_bundle(tmp_path / "many.exe", tmp_path / "pack.zip", models[:1])
    times = []
    for _ in range(10):
        start = time.perf_counter()
        Bundle.open(tmp_path / "many.exe").close()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


def test_importing_the_reader_is_cheap() -> None:
    """It is on the way to every first answer: nothing heavy may come with it."""
    code = "import sys; had = set(sys.modules); import solofile.runtime.container; print(*set(sys.modules) - had)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"zipfile", "tempfile", "subprocess", "asyncio", "pathlib", "urllib.request", "numpy", "gguf"}


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no such advice")
def test_no_reading_ahead(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *args: advice.append(args[3]))
    Bundle.open(bundle).close()
    assert advice == [os.POSIX_FADV_RANDOM]
