"""What is remembered of a file's hash, and every way in which it must not be taken for another one's."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import model_facts
from solofile.builder import known_hashes, writer
from solofile.builder.archive_writer import Span
from solofile.builder.cli import main
from solofile.builder.copying import Digests
from solofile.builder.known_hashes import SETTLED_NS, SMALLEST, Look, recall, remember
from solofile.builder.output import replacing
from solofile.builder.packfile import Pack
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle
from solofile.runtime.container import Bundle
from solofile.runtime.integrity import verify

LATER = 3_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the time that the builder sees, in nanoseconds from now."""
    real = time.time_ns

    def move(by: int) -> None:
        monkeypatch.setattr(known_hashes.time, "time_ns", lambda: real() + by)

    move(LATER)
    return move


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(os.urandom(SMALLEST + 5))
    return path


def look(path: Path) -> Look:
    with io.FileIO(path) as file:
        return Look.at(file)


def digests_of(path: Path) -> Digests:
    data = path.read_bytes()
    return Digests(hashlib.sha256(data).hexdigest(), zlib.crc32(data))


@pytest.fixture
def known(path: Path, clock: Callable[[int], None]) -> Digests:  # noqa: ARG001 - the time is moved first
    digests = digests_of(path)
    remember(look(path), digests)
    assert recall(look(path)) == digests
    return digests


@pytest.mark.usefixtures("clock")
def test_the_same_file_by_another_name(path: Path, tmp_path: Path) -> None:
    os.link(path, tmp_path / "linked.gguf")
    (tmp_path / "pointer.gguf").symlink_to(path)
    remember(look(path), digests_of(path))
    assert recall(look(tmp_path / "linked.gguf")) == recall(look(tmp_path / "pointer.gguf")) == digests_of(path)


def write_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"x")


def write_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    write_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def write_through_a_map(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000] ^= 1


def replace_with_one_of_the_same_size(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(os.urandom(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def truncate_and_write_again(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


@pytest.mark.parametrize(
    "change",
    [
        write_in_place,
        write_and_set_the_time_back,
        write_through_a_map,
        replace_with_one_of_the_same_size,
        truncate_and_write_again,
        lambda path: os.truncate(path, SMALLEST),
    ],
)
@pytest.mark.usefixtures("known")
def test_changed_file_is_not_mistaken(path: Path, change: Callable[[Path], object]) -> None:
    change(path)
    assert recall(look(path)) is None


def test_file_that_was_just_changed_is_not_remembered(path: Path, clock: Callable[[int], None]) -> None:
    """It may change again within the same step of the file system's clock, and look as it does now."""
    for by in (0, SETTLED_NS // 2, -10 * SETTLED_NS):  # changed now, a second ago, and in the future
        clock(by)
        assert not look(path).settled
        remember(look(path), digests_of(path))
    clock(LATER)
    assert recall(look(path)) is None
    remember(look(path), digests_of(path))
    clock(0)  # what was remembered rightly does not count either while a change would not show
    assert recall(look(path)) is None
    clock(LATER)
    assert recall(look(path)) == digests_of(path)


@pytest.mark.usefixtures("clock")
def test_small_files_are_not_worth_it(tmp_path: Path, build_cache: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * (SMALLEST - 1))
    remember(look(tmp_path / "small"), digests_of(tmp_path / "small"))
    assert not (build_cache / "hashes").exists()


@pytest.mark.usefixtures("known")
def test_entry_that_is_not_what_was_written(path: Path, build_cache: Path) -> None:
    (entry,) = (build_cache / "hashes").iterdir()
    text = entry.read_text()
    document = json.loads(text)
    wrong = ["", "[]", "null", text[:50]]
    wrong += [json.dumps({**document, "sha256": "0" * 64}), json.dumps({**document, "crc32": 1})]
    wrong += [json.dumps({key: value for key, value in document.items() if key != gone}) for gone in ("check", "crc32")]
    for content in wrong:
        entry.write_text(content)
        assert recall(look(path)) is None, content
    entry.write_bytes(b"\xff\xfe")
    assert recall(look(path)) is None
    entry.write_text(text)
    assert recall(look(path)) is not None


@pytest.mark.usefixtures("clock")
def test_cache_that_cannot_be_written(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(tmp_path / "file" / "cache"))
    remember(look(path), digests_of(path))
    assert recall(look(path)) is None


@pytest.mark.usefixtures("clock")
def test_old_entries_are_forgotten(tmp_path: Path, build_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_hashes, "KEPT", 3)
    for index in range(5):
        one = tmp_path / f"{index}.gguf"
        one.write_bytes(bytes(SMALLEST))
        remember(look(one), digests_of(one))
        (entry,) = (build_cache / "hashes").glob(f"*-{one.stat().st_ino}.json")
        os.utime(entry, (index, index))
    assert len(list((build_cache / "hashes").iterdir())) == 3
    assert recall(look(tmp_path / "4.gguf"))
    assert recall(look(tmp_path / "0.gguf")) is None


@pytest.fixture
def model(gguf_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_path.read_bytes() + os.urandom(2 << 20))
    return path


@pytest.mark.usefixtures("clock")
def test_second_build_does_not_hash(
    model: Path, pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["build", str(model), "--pack", str(pack_path), "--name", "n"]
    assert main([*words, "-o", "first.exe"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr("solofile.builder.copying._Hasher", lambda: pytest.fail("hashed again"))
        assert main([*words, "-o", "second.exe"]) == 0
    assert (tmp_path / "first.exe").read_bytes() == (tmp_path / "second.exe").read_bytes()
    write_and_set_the_time_back(model)
    assert main([*words, "-o", "third.exe"]) == 0
    with Bundle.open("third.exe") as bundle:
        assert verify(bundle) == []
        assert bundle.parts["models/model.gguf"].sha256 == digests_of(model).sha256


@pytest.mark.usefixtures("clock")
def test_model_that_changes_while_it_is_copied_unhashed(
    model: Path, pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["build", str(model), "--pack", str(pack_path)]
    assert main([*words, "-o", "first.exe"]) == 0

    def recalled(found: Look) -> Digests | None:
        write_in_place(model)
        return recall(found)

    monkeypatch.setattr(writer, "recall", recalled)
    assert main([*words, "-o", "second.exe"]) == 2
    assert "changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "second.exe").exists()


@pytest.mark.usefixtures("clock")
def test_model_that_changes_while_it_is_hashed_is_not_remembered(
    model: Path, pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def recalled(_: Look) -> None:
        write_in_place(model)

    monkeypatch.setattr(writer, "recall", recalled)
    assert main(["build", str(model), "--pack", str(pack_path), "-o", "first.exe"]) == 0
    assert recall(look(model)) is None
    with Bundle.open("first.exe") as bundle:
        assert verify(bundle) == []


@pytest.mark.usefixtures("clock")
def test_part_of_a_file_has_no_hash_of_its_own(model: Path, pack_path: Path, tmp_path: Path) -> None:
    """A model inside another file: neither taken for the whole, nor remembered as it."""
    whole = digests_of(model)
    remember(look(model), whole)
    data = model.read_bytes()[65_536:][: 1 << 20]
    entry = model_facts("part", len(data))
    with Pack.open(pack_path) as pack, replacing(tmp_path / "x.exe") as output:
        plan = BundlePlan("n", "N", [pack], [ModelFile(entry, model, Span(65_536, len(data)))], entry.path)
        manifest = write_bundle(plan, output, lambda _: None)
    (part,) = [part for part in manifest.parts if part.path == entry.path]
    assert part.sha256 == hashlib.sha256(data).hexdigest()
    assert recall(look(model)) == whole
