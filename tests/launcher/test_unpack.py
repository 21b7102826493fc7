"""The pack in the cache: unpacked once, whole or not at all, checked at each start."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_bundle import PROGRAM, Content, Run, Synthetic, probe_files, run, write_bundle

FILE_TIME = 315_532_800


def pack_of(bundle: Synthetic, cache: Path) -> Path:
    """The folder that the bundle's pack belongs in."""
    return cache / "packs" / bundle.digest


def leftovers(cache: Path) -> list[str]:
    """What is in the folder of packs beside packs and their locks."""
    return [path.name for path in (cache / "packs").iterdir() if path.name.startswith(".")]


def assert_whole(bundle: Synthetic, cache: Path, files: dict[str, Content]) -> None:
    """The pack is in the cache, byte for byte, read-only, with the agreed time."""
    root = pack_of(bundle, cache)
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    assert set(found) == set(files)
    for name, path in found.items():
        assert path.read_bytes() == files[name].data, name
        assert path.stat().st_mode & 0o7777 == (0o555 if files[name].mode & 0o111 else 0o444), name
        assert path.stat().st_mtime_ns == FILE_TIME * 10**9, name
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        assert folder.stat().st_mode & 0o7777 == 0o555, folder
    assert leftovers(cache) == []


@pytest.fixture
def files(probe: bytes) -> dict[str, Content]:
    """The files of the pack of ``bundle``, with noise of its own."""
    return probe_files(probe)


@pytest.fixture
def bundle(tmp_path: Path, launcher: Path, files: dict[str, Content]) -> Synthetic:
    """A bundle of ``files``."""
    return write_bundle(tmp_path / "probe.exe", launcher.read_bytes(), files)


def start(bundle: Synthetic, cache: Path) -> Run:
    """Start the probe, which must do well."""
    started = run([bundle.path, "exit", "0"], {"SOLOFILE_CACHE": cache})
    assert started.code == 0, started.err
    return started


def test_unpacked_once(bundle: Synthetic, cache: Path, files: dict[str, Content]) -> None:
    assert start(bundle, cache).err == ""
    assert_whole(bundle, cache, files)
    inode = pack_of(bundle, cache).stat().st_ino
    lock = pack_of(bundle, cache).with_name(f"{bundle.digest}.lock")
    os.utime(lock, (1, 1))
    assert start(bundle, cache).err == ""
    assert pack_of(bundle, cache).stat().st_ino == inode
    assert time.time() - lock.stat().st_mtime < 60, "the lock tells when the pack was last used"


def test_two_bundles_with_one_runtime_share_it(
    bundle: Synthetic, cache: Path, launcher: Path, files: dict[str, Content], tmp_path: Path
) -> None:
    other = write_bundle(tmp_path / "other.exe", launcher.read_bytes(), files, model=b"another model")
    start(bundle, cache)
    start(other, cache)
    assert [path.name for path in (cache / "packs").iterdir() if path.is_dir()] == [bundle.digest]


def touch(path: Path) -> None:
    """A file whose time of change is now."""
    os.utime(path)


def grow(path: Path) -> None:
    """A file with a byte more and its old time."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, (FILE_TIME, FILE_TIME))
    path.chmod(0o444)


def link(path: Path) -> None:
    """A file that became a link to a copy of itself."""
    copy = path.with_name("copy")
    path.parent.chmod(0o755)
    path.rename(copy)
    path.symlink_to("copy")
    path.parent.chmod(0o555)


def link_folder(path: Path) -> None:
    """The file's folder became a link to where it was moved."""
    folder = path.parent
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("moved")
    folder.with_name("moved").chmod(0o555)
    folder.parent.chmod(0o555)


def remove(path: Path) -> None:
    """A file that is gone."""
    path.parent.chmod(0o755)
    path.unlink()
    path.parent.chmod(0o555)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "touched": touch,
    "grown": grow,
    "linked": link,
    "linked folder": link_folder,
    "removed": remove,
    "writable": lambda path: path.chmod(0o644),
    "writable folder": lambda path: path.parent.chmod(0o755),
}


@pytest.mark.parametrize("name", ["_internal/noise.bin", "_internal/lib/deep/empty"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_noticed_and_repaired(
    bundle: Synthetic, cache: Path, files: dict[str, Content], damage: Callable[[Path], None], name: str
) -> None:
    start(bundle, cache)
    damage(pack_of(bundle, cache) / name)
    repaired = start(bundle, cache)
    assert repaired.err == (
        f"solofile: the cached runtime in {pack_of(bundle, cache)} was damaged and is made again.\n"
    )
    assert_whole(bundle, cache, files)
    assert start(bundle, cache).err == ""


def test_a_pack_that_is_a_link_is_made_again(
    bundle: Synthetic, cache: Path, files: dict[str, Content], tmp_path: Path
) -> None:
    start(bundle, cache)
    pack = pack_of(bundle, cache)
    pack.rename(tmp_path / "elsewhere")
    pack.symlink_to(tmp_path / "elsewhere")
    assert "was damaged and is made again" in start(bundle, cache).err
    assert not pack.is_symlink()
    assert (tmp_path / "elsewhere" / PROGRAM).exists(), "what a link points at is left alone"
    assert_whole(bundle, cache, files)


def test_damage_under_a_running_bundle_is_repaired(
    bundle: Synthetic, cache: Path, files: dict[str, Content]
) -> None:
    command = [str(bundle.path), "signals"]
    with subprocess.Popen(command, env={"SOLOFILE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ready")
        remove(pack_of(bundle, cache) / "_internal/noise.bin")
        assert "was damaged and is made again" in start(bundle, cache).err
        assert_whole(bundle, cache, files)
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.readline() == "got 10\n", "the first one goes on"
        running.terminate()
        assert running.wait(10) == 7


@pytest.mark.parametrize("count", [2, 8])
def test_first_starts_at_once_end_in_one_copy(
    bundle: Synthetic, cache: Path, files: dict[str, Content], count: int
) -> None:
    command, env = [str(bundle.path), "show"], {"SOLOFILE_CACHE": str(cache)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=env, **options) for _ in range(count)]  # type: ignore[call-overload]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert f"arg {bundle.path}\n" in out
    assert_whole(bundle, cache, files)


def test_the_lock_is_shared_while_running(bundle: Synthetic, cache: Path) -> None:
    command = [str(bundle.path), "signals"]
    with subprocess.Popen(command, env={"SOLOFILE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        with pack_of(bundle, cache).with_name(f"{bundle.digest}.lock").open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            start(bundle, cache)  # a second copy does not wait
        running.terminate()
    with pack_of(bundle, cache).with_name(f"{bundle.digest}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_waits_for_another_unpacker_and_can_be_stopped(bundle: Synthetic, cache: Path) -> None:
    start(bundle, cache)
    env = {"SOLOFILE_CACHE": str(cache)}
    with pack_of(bundle, cache).with_name(f"{bundle.digest}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([str(bundle.path)], env=env, stderr=subprocess.PIPE, text=True) as waiting:
            time.sleep(0.3)
            assert waiting.poll() is None
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(5) == -signal.SIGINT
            assert waiting.stderr is not None
            assert "Stopped before the runtime was unpacked" in waiting.stderr.read()


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_leftovers_of_dead_launchers_are_removed(bundle: Synthetic, cache: Path) -> None:
    start(bundle, cache)
    packs, dead, other = cache / "packs", dead_process(), "ab" * 32
    gone = [f".tmp-{bundle.digest}-{dead}", f".tmp-{bundle.digest}-{dead}-old", f".tmp-{other}-{dead}"]
    kept = [f".tmp-{bundle.digest}-{os.getpid()}", ".tmp-else", f".tmp-{other}-x", f".tmp-{'cd' * 32}-{dead}"]
    for name in gone + kept:
        (packs / name / "sub").mkdir(parents=True)
        (packs / name / "sub" / "file").write_text("half")
        (packs / name / "sub").chmod(0o555)
    with (packs / f"{'cd' * 32}.lock").open("w") as lock:  # somebody unpacks it where process numbers are others
        fcntl.flock(lock, fcntl.LOCK_EX)
        start(bundle, cache)
    assert sorted(leftovers(cache)) == sorted(kept)


def test_its_own_leftover_is_in_no_way(bundle: Synthetic, cache: Path, files: dict[str, Content]) -> None:
    """In a container every launcher may have the same process number."""
    start(bundle, cache)
    remove(pack_of(bundle, cache) / "_internal/noise.bin")
    script = 'mkdir -p "$1/packs/.tmp-$2-$$/old" && exec "$3" exit 0'
    started = run(["/bin/sh", "-c", script, "sh", cache, bundle.digest, bundle.path], {"SOLOFILE_CACHE": cache})
    assert started.code == 0, started.err
    assert_whole(bundle, cache, files)


def test_a_full_disk(bundle: Synthetic, mount: Callable[[str], Path]) -> None:
    folder = mount("size=64k,mode=700")
    ended = run([bundle.path], {"SOLOFILE_CACHE": folder})
    assert ended.code == 1
    assert ended.err == (
        f"solofile: The runtime cannot be unpacked to {folder} (no space left); "
        "set SOLOFILE_CACHE to a folder with 1 MB free.\n"
    )
    assert [path for path in (folder / "packs").iterdir() if path.is_dir()] == []


def slow_bundle(tmp_path: Path, launcher: Path, probe: bytes) -> Synthetic:
    """A bundle whose runtime takes long enough to unpack for `halted` to find it at it."""
    files = {PROGRAM: Content(probe, 0o755), "large": Content(bytes(range(256)) * 300_000)}
    return write_bundle(tmp_path / "slow.exe", launcher.read_bytes(), files)


def halt_while_unpacking(process: subprocess.Popen[bytes], cache: Path) -> None:
    """Stop the launcher (SIGSTOP) in the middle of the large file."""
    while not [path for path in cache.glob("packs/.tmp-*/large") if path.stat().st_size]:
        assert process.poll() is None, "too fast for this test"
    process.send_signal(signal.SIGSTOP)
    (path,) = cache.glob("packs/.tmp-*/large")
    assert path.stat().st_size < 76_000_000, "too fast for this test"


def test_stopping_while_unpacking_leaves_nothing(
    tmp_path: Path, cache: Path, launcher: Path, probe: bytes
) -> None:
    bundle = slow_bundle(tmp_path, launcher, probe)
    with subprocess.Popen([str(bundle.path)], env={"SOLOFILE_CACHE": str(cache)}, stderr=subprocess.PIPE) as process:
        halt_while_unpacking(process, cache)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == -signal.SIGTERM
    assert [path.name for path in (cache / "packs").iterdir()] == [f"{bundle.digest}.lock"]


def test_a_slow_unpacking_is_announced_on_a_terminal_only(
    tmp_path: Path, cache: Path, launcher: Path, probe: bytes
) -> None:
    bundle = slow_bundle(tmp_path, launcher, probe)
    terminal, side = pty.openpty()
    start_slowly(bundle, cache, side)
    os.write(side, b"end")
    shown = b""
    while b"end" not in shown:
        shown += os.read(terminal, 1024)
    assert shown.decode() == f"solofile: unpacking once to {cache}/packs …\r\nend"
    os.close(terminal)
    os.close(side)
    log = tmp_path / "log"
    with log.open("w") as file:
        start_slowly(bundle, tmp_path / "second cache", file.fileno())
    assert log.read_text() == ""


def start_slowly(bundle: Synthetic, cache: Path, stderr: int) -> None:
    """A first start that takes more than a second."""
    with subprocess.Popen([bundle.path, "exit", "0"], env={"SOLOFILE_CACHE": str(cache)}, stderr=stderr) as process:
        halt_while_unpacking(process, cache)
        time.sleep(1.1)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
