"""--local-copy: the model in the cache, verified while it is written, reused while it is sound, never half there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from solofile.runtime import cache, localcopy
from solofile.runtime.errors import CacheError, InputError
from solofile.runtime.localcopy import Copy, Source, find, lacking, make
from solofile.runtime.locks import Lock

OFFSET = 65_536
DATA = os.urandom(1 << 20) * 9 + b"end"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A model that lies inside another file."""
    bundle = tmp_path / "model.exe"
    bundle.write_bytes(b"\0" * OFFSET + DATA + b"directory")
    return Source(str(bundle), OFFSET, len(DATA), "models/tiny.gguf", hashlib.sha256(DATA).hexdigest())


def made(folder: Path, source: Source, said: list[str] | None = None) -> Copy:
    found = make(folder, source, (said if said is not None else []).append, lambda _: None)
    assert found is not None
    if found.lock is not None:
        found.lock.close()
    return found


def test_copy_is_whole_read_only_and_dated(folder: Path, source: Source) -> None:
    steps: list[int] = []
    found = make(folder, source, print, steps.append)
    assert found is not None
    assert found.path == folder / "models" / source.sha256 / "tiny.gguf"
    assert found.path.read_bytes() == DATA
    assert found.path.stat().st_mode & 0o777 == 0o444
    assert found.path.stat().st_mtime == cache.FILE_TIME
    assert steps == sorted(steps)
    assert steps[-1] == len(DATA)
    assert not list((folder / "models").glob(".tmp*"))
    assert found.lock is not None
    found.lock.close()


def test_later_starts_find_it_without_the_bundle(folder: Path, source: Source) -> None:
    assert find(folder, source) is None
    assert not (folder / "models").exists()  # looking leaves nothing behind
    path = made(folder, source).path
    Path(source.file).unlink()
    found = find(folder, source)
    assert found is not None
    assert found.path == path
    assert made(folder, source).path == path


@pytest.mark.parametrize("damage", ["size", "time", "mode", "gone"])
def test_damaged_copy_is_not_used_but_made_again(folder: Path, source: Source, damage: str) -> None:
    path = made(folder, source).path
    path.parent.chmod(0o700)
    path.chmod(0o644)
    if damage == "gone":
        path.unlink()
    elif damage == "size":
        os.truncate(path, 100)
        os.utime(path, (cache.FILE_TIME, cache.FILE_TIME))
        path.chmod(0o444)
    elif damage == "time":
        path.write_bytes(DATA)
        path.chmod(0o444)
    assert find(folder, source) is None
    said: list[str] = []
    assert made(folder, source, said).path.read_bytes() == DATA
    assert len(said) == 1
    assert "was damaged" in said[0]


def test_model_that_is_not_what_the_manifest_says_is_not_kept(folder: Path, source: Source) -> None:
    with pytest.raises(CacheError, match="copy or download the bundle again"):
        make(folder, source._replace(sha256="0" * 64), print, lambda _: None)
    assert [path.name for path in (folder / "models").iterdir()] == ["0" * 64 + ".lock"]


def test_bundle_that_goes_away_while_it_is_copied(folder: Path, source: Source) -> None:
    os.truncate(source.file, OFFSET + 5_000_000)
    with pytest.raises(InputError, match="is cut short"):
        make(folder, source, print, lambda _: None)
    Path(source.file).unlink()
    with pytest.raises(InputError, match=r"cannot be read .* is its medium still there\?"):
        make(folder, source, print, lambda _: None)
    assert find(folder, source) is None


def test_interruption_leaves_nothing(folder: Path, source: Source) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(folder, source, print, stop)
    assert [path.suffix for path in (folder / "models").iterdir()] == [".lock"]
    made(folder, source)  # and holds no lock


def test_without_room_the_bundle_is_read_and_said_why(
    folder: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localcopy, "free_bytes", lambda _: 100_000_000)
    said: list[str] = []
    assert make(folder, source, said.append, lambda _: None) is None
    assert said == [
        f"The model is not kept in {folder}: it takes 278 MB and 100 MB are free there, so it is read from the bundle."
    ]


def test_room() -> None:
    assert lacking(10**9, 2 * 10**9) == ""
    assert lacking(10**9, None) == ""
    assert lacking(10**9, 10**9) == "it takes 1.3 GB and 1.0 GB are"
    assert localcopy.free_bytes(Path("/no/such/folder")) is None
    assert (localcopy.free_bytes(Path.cwd()) or 0) > 0


def test_cache_that_cannot_be_written_is_said(source: Source, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    said: list[str] = []
    assert make(blocked, source, said.append, lambda _: None) is None
    assert said == [f"The model is not kept in {blocked} (Not a directory): it is read from the bundle."]


def test_read_only_cache_serves_what_it_holds(folder: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(folder, source).path

    def refuse(_: Path) -> Lock:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(localcopy, "Lock", refuse)
    assert find(folder, source) == Copy(path, None)


def test_while_another_start_copies_this_one_reads_the_bundle(folder: Path, source: Source) -> None:
    half, go_on = threading.Event(), threading.Event()

    def slowly(_: int) -> None:
        half.set()
        go_on.wait(10)

    copies: list[Copy | None] = []
    other = threading.Thread(target=lambda: copies.append(make(folder, source, print, slowly)))
    other.start()
    assert half.wait(10)
    said: list[str] = []
    assert make(folder, source, said.append, lambda _: None) is None
    assert find(folder, source) is None
    go_on.set()
    other.join(10)
    assert said == ["Another start is copying the model just now, so this one reads the bundle."]
    assert copies[0] is not None
    assert find(folder, source) is not None


def test_killed_in_the_middle_leaves_no_copy_that_is_used(folder: Path, source: Source) -> None:
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + (
        "import os; from pathlib import Path; from solofile.runtime.localcopy import Source, make\n"
        f"make(Path({str(folder)!r}), Source{tuple(source)!r}, print, lambda done: os.kill(os.getpid(), 9))"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    leftovers = [entry for entry in cache.entries(folder) if entry.leftover]
    assert [(entry.store, entry.digest) for entry in leftovers] == [("models", source.sha256)]
    assert find(folder, source) is None
    assert made(folder, source).path.read_bytes() == DATA
    assert [entry.leftover for entry in cache.entries(folder)] == [False]  # a leftover would take the room of a model


def test_pruned_and_cleared_as_the_rest_of_the_cache(folder: Path, source: Source) -> None:
    found = make(folder, source, print, lambda _: None)
    assert found is not None
    assert found.lock is not None
    old = (0, 0)
    os.utime(found.path.parent, old)
    os.utime(found.lock.path, old)
    assert cache.prune(folder, set()) == []  # in use
    found.lock.close()
    assert cache.prune(folder, {source.sha256}) == []
    assert cache.prune(folder, set()) == [found.path.parent]
    made(folder, source)
    said: list[str] = []
    cache.clear(folder, {os.getpid()}, said.append)
    assert said[-1] == f"Removed 1 from {folder}, 9.4 MB in all."
    assert not found.path.exists()
