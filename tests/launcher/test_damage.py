"""Bundles that are not what was written, and bundles made to do harm: refused with one sentence and exit code 2."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.runtime.archive import END_SIZE, End, directory_entry, end_records
from solofile.runtime.container import COMMENT_SIZE, comment_of
from synthetic_bundle import FOLDER, PROGRAM, Content, Run, Synthetic, probe_files, run, sums_text, write_bundle

TAIL = END_SIZE + COMMENT_SIZE


def refused(bundle: Synthetic, cache: Path, part: str) -> Run:
    """The bundle is refused with a sentence that names the part, and nothing half is left."""
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert ended.err.startswith(f"solofile: {bundle.path} is damaged: ")
    assert ended.err.endswith("; copy or download it again.\n")
    assert ended.err.count("\n") == 1
    assert part in ended.err
    assert not [path for path in cache.glob("packs/*") if path.is_dir()]
    return ended


@pytest.mark.parametrize("missing", [1, 75, 97, 172, 173, 174, 500])
def test_cut_short(bundle: Synthetic, cache: Path, missing: int) -> None:
    data = bundle.path.read_bytes()
    bundle.path.write_bytes(data[:-missing])
    refused(bundle, cache, "the file was cut short")


def test_cut_to_the_launcher(bundle: Synthetic, cache: Path) -> None:
    data = bundle.path.read_bytes()
    bundle.path.write_bytes(data[: min(member.header_offset for member in bundle.members.values())])
    refused(bundle, cache, "the file was cut short")


def test_something_appended(bundle: Synthetic, cache: Path) -> None:
    with bundle.path.open("ab") as file:
        file.write(b"x")
    refused(bundle, cache, "its end records")


def test_every_byte_of_the_end_records_counts(bundle: Synthetic, cache: Path) -> None:
    size = bundle.path.stat().st_size
    tolerated = {*range(12, 16)}  # ZIP64: made by, version needed: nobody acts on them
    for at in range(0, TAIL, 3):
        if at in tolerated:
            continue
        bundle.flip(size - TAIL + at)
        assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 2, f"byte {at} of the end records"
        bundle.flip(size - TAIL + at)
    assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 0


def test_every_byte_of_the_directory_counts(bundle: Synthetic, cache: Path) -> None:
    end = bundle.path.stat().st_size - TAIL
    for offset in range(bundle.directory, end, 7):
        bundle.flip(offset)
        ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
        assert ended.code == 2, f"byte {offset - bundle.directory} of the directory"
        assert " is damaged: " in ended.err
        bundle.flip(offset)
    assert not cache.exists()


def test_a_flipped_manifest(bundle: Synthetic, cache: Path) -> None:
    bundle.flip(bundle.members["solofile.json"].data_offset + 3)
    refused(bundle, cache, "solofile.json")


def test_a_flipped_list_of_files(bundle: Synthetic, cache: Path) -> None:
    member = bundle.members["runtime/linux-x86_64.sums"]
    bundle.flip(member.data_offset + member.stored // 2)
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 2
    assert "runtime/linux-x86_64.sums" in ended.err or "runtime/linux-x86_64/" in ended.err


@pytest.mark.parametrize("name", [PROGRAM, "_internal/noise.bin", "_internal/lib/libx.so", "native/libllama.so"])
def test_any_byte_of_a_packed_file(bundle: Synthetic, cache: Path, name: str) -> None:
    member = bundle.members[FOLDER + name]
    choice = random.Random(1)
    for offset in [0, member.stored - 1, *(choice.randrange(member.stored) for _ in range(12))]:
        bundle.flip(member.data_offset + offset)
        refused(bundle, cache, FOLDER + name)
        bundle.flip(member.data_offset + offset)


def test_any_byte_of_a_local_header(bundle: Synthetic, cache: Path) -> None:
    member = bundle.members[FOLDER + PROGRAM]
    tolerated = {4, 5, *range(10, 14)}  # version needed, time and date
    for at in range(member.data_offset - member.header_offset):
        if at in tolerated:
            continue
        bundle.flip(member.header_offset + at)
        refused(bundle, cache, f"{FOLDER + PROGRAM} has a header that the directory contradicts")
        bundle.flip(member.header_offset + at)


def test_bytes_of_the_model_are_not_read(bundle: Synthetic, cache: Path) -> None:
    bundle.flip(bundle.members["models/m.gguf"].data_offset + 7)
    assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 0


def test_a_damaged_bundle_starts_from_a_good_cache(bundle: Synthetic, cache: Path) -> None:
    """The pack's bytes are checked when they are unpacked; what is in the cache was."""
    assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 0
    bundle.flip(bundle.members[FOLDER + "_internal/noise.bin"].data_offset)
    assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 0


@pytest.mark.parametrize(
    "name",
    ["../escaped", "/tmp/escaped", "a/../../escaped", "a//b", "./a", "a/.", "a\\b", "c:d", "tab\there", ""],
)
def test_paths_that_lead_elsewhere(launcher: Path, probe: bytes, cache: Path, tmp_path: Path, name: str) -> None:
    files = {**probe_files(probe), name: Content(b"evil")}
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), files)
    refused(bundle, cache, "runtime/linux-x86_64.sums does not describe its files")
    assert not (tmp_path / "escaped").exists()


def test_a_file_in_a_file(launcher: Path, probe: bytes, cache: Path, tmp_path: Path) -> None:
    files = {**probe_files(probe), "_internal/noise.bin/below": Content(b"evil")}
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), files)
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code != 0
    assert not [path for path in cache.glob("packs/*") if path.is_dir()]


def lines(text: bytes) -> list[bytes]:
    """The lines of a list, their ends included."""
    return text.splitlines(keepends=True)


LISTS: dict[str, Callable[[bytes], bytes]] = {
    "a line too few": lambda text: b"".join(lines(text)[1:]),
    "a line too many": lambda text: text + b"0" * 64 + b" 1 0644 zzz\n",
    "a line twice": lambda text: b"".join([lines(text)[0], text]),
    "out of order": lambda text: b"".join([lines(text)[1], lines(text)[0], *lines(text)[2:]]),
    "no newline at the end": lambda text: text[:-1],
    "another mode": lambda text: text.replace(b" 0755 ", b" 0777 "),
    "another size": lambda text: text.replace(b" 70000 ", b" 70001 "),
    "a long mode": lambda text: text.replace(b" 0755 ", b" 00755 "),
    "no hex": lambda text: b"x" + text[1:],
    "empty": lambda _: b"",
    "noise": lambda _: bytes(range(256)) * 4,
}
"""Lists of files that are wrong in one way each, made from the right one."""


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS.keys())
def test_a_wrong_list_of_files(
    launcher: Path, probe: bytes, cache: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    files = probe_files(probe)
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), files, sums=change(sums_text(files)))
    refused(bundle, cache, "runtime/linux-x86_64.sums")


def test_a_wrong_sum(launcher: Path, probe: bytes, cache: Path, tmp_path: Path) -> None:
    files = probe_files(probe)
    wrong = {**files, "_internal/noise.bin": Content(b"x" * 150_000)}
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), files, sums=sums_text(wrong))
    refused(bundle, cache, "runtime/linux-x86_64/_internal/noise.bin does not have the SHA-256")


def test_a_bundle_for_another_machine(launcher: Path, probe: bytes, cache: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b.exe", launcher.read_bytes(), probe_files(probe), target="linux-aarch64")
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 2
    assert "holds no runtime for linux-x86_64; build it again with --target linux-x86_64" in ended.err


HUGE = 2**64 - 10
CHANGES: dict[str, dict[str, dict[str, int | str]]] = {
    "overlapping": {"_internal/noise.bin": {"stored": 10}},
    "a size that overflows": {"_internal/noise.bin": {"stored": HUGE, "size": HUGE}},
    "an offset that overflows": {"_internal/noise.bin": {"header_offset": HUGE}},
    "an unknown method": {"_internal/noise.bin": {"method": 12}},
    "stored, but of another size": {"_internal/noise.bin": {"method": 0}},
    "more bytes than promised": {"_internal/noise.bin": {"size": 1000}},
    "fewer bytes than promised": {"_internal/noise.bin": {"size": 200_000}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_directory_that_lies(bundle: Synthetic, cache: Path, change: dict[str, dict[str, int | str]]) -> None:
    """Its digest is right: only the checks of the fields stand against it."""
    rewrite(bundle, lambda name, fields: fields | change.get(name.removeprefix(FOLDER), {}))
    ended = run([bundle.path], {"SOLOFILE_CACHE": cache})
    assert ended.code == 2, ended.err
    assert " is damaged: " in ended.err
    assert not [path for path in cache.glob("packs/*") if path.is_dir()]


Fields = dict[str, int | str]


def rewrite(bundle: Synthetic, change: Callable[[str, Fields], Fields]) -> None:
    """Write the directory anew with changed entries and a digest that is right."""
    members = [member._replace(**change(name, {})) for name, member in bundle.members.items()]  # type: ignore[arg-type]
    data = bundle.path.read_bytes()[: bundle.directory]
    manifest = data[bundle.members["solofile.json"].data_offset :]
    directory = b"".join(map(directory_entry, members))
    end = End(len(members), len(data), len(directory), comment_of(manifest, directory))
    bundle.path.write_bytes(data + directory + end_records(end))


def test_rewriting_without_a_change_is_fine(bundle: Synthetic, cache: Path) -> None:
    rewrite(bundle, lambda _, fields: fields)
    assert run([bundle.path], {"SOLOFILE_CACHE": cache}).code == 0


def test_beyond_four_gigabytes(bundle: Synthetic, cache: Path) -> None:
    """A hole stands for a large model: sizes and offsets that need 64 bits."""
    data = bundle.path.read_bytes()
    model, manifest = bundle.members["models/m.gguf"], bundle.members["solofile.json"]
    from solofile.runtime.archive import local_header

    large = model._replace(size=5 << 30, stored=5 << 30, header_offset=model.header_offset)
    last = manifest._replace(header_offset=large.end)
    before = [member for name, member in bundle.members.items() if name not in ("models/m.gguf", "solofile.json")]
    content = data[manifest.data_offset : manifest.end]
    directory = b"".join(map(directory_entry, [*before, large, last]))
    end = End(len(before) + 2, last.end, len(directory), comment_of(content, directory))
    with bundle.path.open("r+b") as file:
        file.truncate(model.header_offset)
        file.seek(model.header_offset)
        file.write(local_header(large))
        file.seek(large.end)
        file.write(local_header(last) + content + directory + end_records(end))
    started = run([bundle.path, "show"], {"SOLOFILE_CACHE": cache})
    assert (started.code, started.err) == (0, "")
