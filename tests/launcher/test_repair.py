"""A cache that is not as it was left: noticed at each start, made again, cleared of what dead launchers left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cache_checks import FILE_TIME, assert_whole, leftovers, pack_of, start
from synthetic_bundle import PROGRAM, Synthetic, run


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
    bundle: Synthetic, cache: Path, damage: Callable[[Path], None], name: str
) -> None:
    start(bundle, cache)
    damage(pack_of(bundle, cache) / name)
    repaired = start(bundle, cache)
    assert repaired.err == (
        f"solofile: the cached runtime in {pack_of(bundle, cache)} was damaged and is made again.\n"
    )
    assert_whole(bundle, cache)
    assert start(bundle, cache).err == ""


def test_a_pack_that_is_a_link_is_made_again(bundle: Synthetic, cache: Path, tmp_path: Path) -> None:
    start(bundle, cache)
    pack = pack_of(bundle, cache)
    pack.chmod(0o755)
    pack.rename(tmp_path / "elsewhere")
    pack.symlink_to(tmp_path / "elsewhere")
    assert "was damaged and is made again" in start(bundle, cache).err
    assert not pack.is_symlink()
    assert (tmp_path / "elsewhere" / PROGRAM).exists(), "what a link points at is left alone"
    assert_whole(bundle, cache)


def test_damage_under_a_running_bundle_is_repaired(bundle: Synthetic, cache: Path) -> None:
    command = [str(bundle.path), "signals"]
    with subprocess.Popen(command, env={"SOLOFILE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ready")
        remove(pack_of(bundle, cache) / "_internal/noise.bin")
        assert "was damaged and is made again" in start(bundle, cache).err
        assert_whole(bundle, cache)
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.readline() == "got 10\n", "the first one goes on"
        running.terminate()
        assert running.wait(10) == 7


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


def test_its_own_leftover_is_in_no_way(bundle: Synthetic, cache: Path) -> None:
    """In a container every launcher may have the same process number."""
    start(bundle, cache)
    remove(pack_of(bundle, cache) / "_internal/noise.bin")
    script = 'mkdir -p "$1/packs/.tmp-$2-$$/old" && exec "$3" exit 0'
    started = run(["/bin/sh", "-c", script, "sh", cache, bundle.digest, bundle.path], {"SOLOFILE_CACHE": cache})
    assert started.code == 0, started.err
    assert_whole(bundle, cache)
