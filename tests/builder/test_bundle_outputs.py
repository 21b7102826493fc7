"""The output is written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from solofile.builder.errors import BadOutput
from solofile.builder.output import check_output, check_space, explained, replacing


def test_replacing(tmp_path: Path) -> None:
    path = tmp_path / "x.exe"
    path.write_bytes(b"old")
    with replacing(path, mode=0o755) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), replacing(tmp_path / "x.exe") as file:
        file.write(b"half")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".x.exe.{os.getpid()}.solofile.part").write_bytes(b"half")
    with replacing(tmp_path / "x.exe") as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "x.exe"]


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    exists = tmp_path / "x.exe"
    exists.touch()
    check_output(tmp_path / "new.exe", force=False, model=model)
    check_output(exists, force=True, model=model)
    with pytest.raises(BadOutput, match=r"x\.exe exists: give --force"):
        check_output(exists, force=False)
    with pytest.raises(BadOutput, match="is a folder"):
        check_output(tmp_path, force=True)
    with pytest.raises(BadOutput, match="is the model itself"):
        check_output(model, force=True, model=model)
    with pytest.raises(BadOutput, match="does not exist: make it first"):
        check_output(tmp_path / "none" / "x.exe", force=True)
    if os.name == "posix":
        (tmp_path / "link").symlink_to(model)
        with pytest.raises(BadOutput, match="is the model itself"):
            check_output(tmp_path / "link", force=True, model=model)
        (tmp_path / "dangling").symlink_to(tmp_path / "none")
        with pytest.raises(BadOutput, match="exists"):
            check_output(tmp_path / "dangling", force=False)
        with pytest.raises(BadOutput, match="not a regular file"):
            check_output(Path("/dev/null"), force=True)


def test_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadOutput, match="is not writable"):
        check_output(tmp_path / "x.exe", force=False)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"no space left for .*x\.exe, which needs 2500000 bytes \(2\.5 MB\): free some"),
        (errno.EFBIG, r"cannot hold a file of 2\.5 MB"),
        (errno.EIO, "could not be written: "),
    ],
)
def test_errors_of_the_system(tmp_path: Path, number: int, says: str) -> None:
    with pytest.raises(BadOutput, match=says), explained(tmp_path / "x.exe", 2_500_000):
        raise OSError(number, os.strerror(number))


def test_space_is_looked_at_first(tmp_path: Path) -> None:
    check_space(tmp_path / "x.exe", 1)
    with pytest.raises(BadOutput, match=r"needs 1000000000000000000 bytes where \d+ are free"):
        check_space(tmp_path / "x.exe", 10**18)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    return folder


def test_disk_that_fills_up(small_disk: Path) -> None:
    try:
        path = small_disk / "x.exe"
        with pytest.raises(BadOutput, match="no space left"), explained(path, 2 << 20), replacing(path) as file:
            for _ in range(32):
                assert file.write(bytes(65_536)) == 65_536 or file.write(b"x")
        assert not list(small_disk.iterdir())
    finally:
        subprocess.run(["umount", str(small_disk)], check=True)


@pytest.mark.skipif(os.name != "posix", reason="locks as Unix has them")
def test_strays_go_and_what_is_being_written_stays(tmp_path: Path) -> None:
    """Those of processes that are gone, whatever their number; not those of another build that runs, nor of others."""
    path = tmp_path / "x.exe"
    left = [tmp_path / f".x.exe.{number}.solofile.part" for number in (1, os.getppid(), 99_999_999, "7-2")]
    left += [tmp_path / ".y.exe.1.solofile.part"]
    others = [tmp_path / name for name in (".y.exe.1.part", ".x.exe.solofile.part", ".x.exe.1.solofile.part.txt")]
    for stray in (*left, *others):
        stray.write_bytes(b"half")
    with replacing(path) as first:
        first.write(b"first")
        with replacing(tmp_path / "y.exe") as other, replacing(path) as second:
            other.write(b"other")
            second.write(b"second")
            assert len(list(tmp_path.glob(".?.exe.*.solofile.part"))) == 3
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "y.exe", *others])
