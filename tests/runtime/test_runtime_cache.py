"""The kernel library in the cache: unpacked once, checked, made again when damaged; pruning and clearing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.runtime import cache, locks
from solofile.runtime.cache import FILE_TIME, Wanted, clear, ensure_library, prune
from solofile.runtime.errors import CacheError
from solofile.runtime.locks import Lock, holders

DATA = b"kernels" * 1000
WANTED = Wanted("libggml-cpu-x64.so", hashlib.sha256(DATA).hexdigest(), len(DATA))


class Source:
    """Counts how often the library is unpacked."""

    def __init__(self, data: bytes = DATA, delay: float = 0.0) -> None:
        self.data, self.delay, self.count = data, delay, 0

    def __call__(self) -> Iterator[bytes]:
        self.count += 1
        time.sleep(self.delay)
        yield self.data[:10]
        yield self.data[10:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    return path


def ensure(folder: Path, source: Source, said: list[str] | None = None) -> Path:
    path, lock = ensure_library(folder, WANTED, source, (said if said is not None else []).append)
    if lock is not None:
        lock.close()
    return path


def test_unpacks_once_read_only_and_dated(folder: Path) -> None:
    source, said = Source(), list[str]()
    path = ensure(folder, source, said)
    assert path == folder / "kernels" / WANTED.sha256 / WANTED.name
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.parent.stat().st_mode & 0o777 == 0o555
    assert path.stat().st_mtime == FILE_TIME
    assert ensure(folder, source, said) == path
    assert source.count == 1
    assert said == []
    assert not list((folder / "kernels").glob(".tmp*"))


@pytest.mark.parametrize("damage", ["content", "size", "mode", "link", "gone", "folder is a file"])
def test_damage_is_noticed_and_mended(folder: Path, damage: str) -> None:
    path = ensure(folder, Source())
    path.parent.chmod(0o700)
    path.chmod(0o644)
    if damage == "content":
        path.write_bytes(DATA[::-1])
    elif damage == "size":
        path.write_bytes(DATA[:-1])
        os.utime(path, (FILE_TIME, FILE_TIME))
    elif damage == "link":
        path.rename(folder / "elsewhere")
        path.symlink_to(folder / "elsewhere")
    elif damage != "mode":
        path.unlink()
    if damage == "folder is a file":
        path.parent.rmdir()
        path.parent.write_text("no folder")
    source, said = Source(), list[str]()
    assert ensure(folder, source, said).read_bytes() == DATA
    assert source.count == 1
    assert said == [f"{path} in the cache was damaged, so it was made again."]
    assert path.lstat().st_mode & 0o777 == 0o444


def test_wrong_bytes_are_not_kept(folder: Path) -> None:
    with pytest.raises(CacheError, match="did not come out as the bundle says"):
        ensure(folder, Source(DATA[::-1]))
    assert [path.name for path in (folder / "kernels").iterdir()] == [f"{WANTED.sha256}.lock"]


def test_starts_at_once_end_in_one_copy(folder: Path) -> None:
    source = Source(delay=0.2)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(ensure(folder, source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4
    assert source.count == 1


def test_damage_under_a_running_bundle_is_mended_without_its_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE", 0.1)
    path, running = ensure_library(folder, WANTED, Source(), lambda _: None)
    assert running is not None
    path.chmod(0o644)
    said: list[str] = []
    assert ensure(folder, Source(), said).read_bytes() == DATA
    assert len(said) == 1
    running.close()


def test_read_only_cache_serves_what_it_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ensure(folder, Source())

    def refuse(_: Path) -> Lock:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "Lock", refuse)
    assert ensure_library(folder, WANTED, Source(), lambda _: None) == (path, None)
    path.parent.chmod(0o700)
    path.unlink()
    with pytest.raises(CacheError, match="Read-only file system"):
        ensure(folder, Source())


def test_unwritable_cache_says_what_to_set(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.raises(CacheError, match="set SOLOFILE_CACHE to a folder that can be written"):
        ensure(folder, Source())


def make(folder: Path, store: str, name: str, *, days: float, size: int = 10) -> Path:
    """A folder of the cache, read-only as a start leaves it, that was last used ``days`` ago."""
    path = folder / store / name
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * size)
    (path / "sub").mkdir()
    (path / "sub" / "link").symlink_to(folder / "precious")
    used = time.time() - days * 86_400
    os.utime(path, (used, used))
    path.chmod(0o555)
    lock = path.with_name(name.lstrip(".").removeprefix("tmp-").split("-")[0] + ".lock")
    lock.touch()
    os.utime(lock, (used, used))
    return path


def test_prune_removes_what_nobody_used_for_long(folder: Path) -> None:
    (folder / "precious").write_text("stays")
    old, young = make(folder, "packs", "a" * 8, days=61), make(folder, "packs", "b" * 8, days=59)
    own, library = make(folder, "packs", "c" * 8, days=90), make(folder, "kernels", "d" * 8, days=99)
    broken, fresh = make(folder, "packs", ".tmp-eeee-1", days=2), make(folder, "packs", ".tmp-ffff-2", days=0)
    used = make(folder, "kernels", "9" * 8, days=70)
    with (folder / "kernels" / "state").open("w"):
        holder = Lock(used)
        holder.share()
        os.utime(holder.path, (0, 0))
    assert set(prune(folder, {own.name})) == {old, library, broken}
    assert [path.exists() for path in (old, young, own, library, broken, fresh, used)] == [
        False, True, True, False, False, True, True,
    ]  # fmt: skip
    assert (folder / "precious").read_text() == "stays"
    holder.close()


def test_prune_removes_what_python_compiled_of_packs_that_are_gone(folder: Path) -> None:
    used = make(folder, "packs", "a" * 8, days=1)
    for name in (used.name, "b" * 8):
        (folder / "pycode" / name / "deep").mkdir(parents=True)
    assert prune(folder, set()) == [folder / "pycode" / ("b" * 8)]
    assert (folder / "pycode" / used.name / "deep").is_dir()


def test_use_is_noted(folder: Path) -> None:
    lock = Lock(folder / "x")
    os.utime(lock.path, (0, 0))
    lock.share()
    assert lock.age() < 5
    lock.close()


def test_clear_says_what_and_how_much_and_keeps_what_others_use(folder: Path) -> None:
    gone = make(folder, "packs", "a" * 8, days=0, size=3_000_000)
    used = make(folder, "kernels", "b" * 8, days=0)
    program = f"import sys, time; sys.path[:0] = {sys.path!r}\n" + (
        "from pathlib import Path; from solofile.runtime.locks import Lock\n"
        f"Lock(Path({str(used)!r})).share(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said: list[str] = []
        clear(folder, {os.getpid()}, said.append)
        other.kill()
    assert said == [
        f"Removed {gone} (3.0 MB).",
        f"Kept {used}: it is in use.",
        f"Removed 1 from {folder}, 3.0 MB in all; kept 1 in use.",
    ]
    assert used.exists()
    assert not gone.exists()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not say who holds a lock")
def test_clear_removes_the_pack_that_only_its_own_start_uses(folder: Path) -> None:
    own = make(folder, "packs", "a" * 8, days=0)
    lock = Lock(own)
    lock.share()
    if holders(lock) != {os.getpid()}:
        pytest.skip("this system does not name the holders of locks")
    said: list[str] = []
    clear(folder, {os.getpid()}, said.append)
    assert not own.exists()
    lock.close()


def test_clear_removes_what_drivers_have_compiled(folder: Path) -> None:
    shaders = folder / "drivers/mesa_shader_cache"
    shaders.mkdir(parents=True)
    (shaders / "index").write_bytes(b"x" * 500_000)
    said: list[str] = []
    clear(folder, set(), said.append)
    assert said == [f"Removed {folder / 'drivers'} (0.5 MB).", f"Removed 1 from {folder}, 0.5 MB in all."]
    assert not (folder / "drivers").exists()


def test_clear_of_an_empty_cache(folder: Path) -> None:
    said: list[str] = []
    clear(folder, set(), said.append)
    assert said == [f"Removed 0 from {folder}, 0.0 MB in all."]


def test_a_file_system_without_locks_is_worked_on_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, __: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    source = Source()
    ensure(folder, source)
    ensure(folder, source)
    assert source.count == 1
