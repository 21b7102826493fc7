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
from cache_checks import assert_whole, pack_of, start
from synthetic_bundle import PROGRAM, Content, Synthetic, run, write_bundle


def test_unpacked_once(bundle: Synthetic, cache: Path) -> None:
    assert start(bundle, cache).err == ""
    assert_whole(bundle, cache)
    inode = pack_of(bundle, cache).stat().st_ino
    lock = pack_of(bundle, cache).with_name(f"{bundle.digest}.lock")
    os.utime(lock, (1, 1))
    assert start(bundle, cache).err == ""
    assert pack_of(bundle, cache).stat().st_ino == inode
    assert time.time() - lock.stat().st_mtime < 60, "the lock tells when the pack was last used"


def test_two_bundles_with_one_runtime_share_it(bundle: Synthetic, cache: Path, launcher: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other.exe", launcher.read_bytes(), bundle.files, model=b"another model")
    start(bundle, cache)
    start(other, cache)
    assert [path.name for path in (cache / "packs").iterdir() if path.is_dir()] == [bundle.digest]


@pytest.mark.parametrize("count", [2, 8])
def test_first_starts_at_once_end_in_one_copy(bundle: Synthetic, cache: Path, count: int) -> None:
    command, env = [str(bundle.path), "show"], {"SOLOFILE_CACHE": str(cache)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=env, **options) for _ in range(count)]  # type: ignore[call-overload]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert f"arg {bundle.path}\n" in out
    assert_whole(bundle, cache)


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
            try:
                assert waiting.wait(5) == -signal.SIGINT
            finally:
                waiting.kill()  # or a failure would wait for ever
            assert waiting.stderr is not None
            assert "Stopped before the runtime was unpacked" in waiting.stderr.read()


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


def test_stopping_while_unpacking_leaves_nothing(tmp_path: Path, cache: Path, launcher: Path, probe: bytes) -> None:
    bundle = slow_bundle(tmp_path, launcher, probe)
    with subprocess.Popen([str(bundle.path)], env={"SOLOFILE_CACHE": str(cache)}, stderr=subprocess.PIPE) as process:
        halt_while_unpacking(process, cache)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == -signal.SIGTERM
    assert [path.name for path in (cache / "packs").iterdir()] == [f"{bundle.digest}.lock"]


@pytest.mark.skipif(not Path("/dev/pts/ptmx").exists(), reason="needs terminals (a mounted /dev/pts)")
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
