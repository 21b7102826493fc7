"""Copying and hashing in one pass."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.builder import copying
from solofile.builder.copying import Digests, SourceFault, can_clone, clone_range, copy_file


@pytest.fixture
def output(tmp_path: Path) -> io.FileIO:
    return io.FileIO(tmp_path / "output", "w+b")


@pytest.fixture(params=["in the kernel", "buffered", "never mapped"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the bytes get from file to file, and to the digests."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(19, "No such device")

    if request.param == "buffered":
        monkeypatch.setattr(copying, "move_inside", lambda *_: 0)
    if request.param == "never mapped":
        monkeypatch.setattr(copying.mmap, "mmap", refuse)
    return str(request.param)


@pytest.mark.parametrize("size", [1, 1000, copying.CHUNK - 1, copying.CHUNK, copying.CHUNK * 5 + 7])
@pytest.mark.usefixtures("way")
def test_copy(tmp_path: Path, output: io.FileIO, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    seen: list[int] = []
    with output, io.FileIO(tmp_path / "source") as source:
        digests = copy_file(source, size, output, 65_536, seen.append)
        assert output.tell() == 65_536 + size
    assert digests == (hashlib.sha256(data).hexdigest(), zlib.crc32(data))
    assert (tmp_path / "output").read_bytes() == bytes(65_536) + data
    assert seen == sorted(seen)
    assert seen[-1] == size


def test_source_that_shrinks(tmp_path: Path, output: io.FileIO) -> None:
    (tmp_path / "source").write_bytes(b"x" * 1000)
    with output, io.FileIO(tmp_path / "source") as source, pytest.raises(SourceFault, match="became shorter"):
        copy_file(source, 2000, output, 0, lambda _: None)
    assert "sha256" not in [thread.name for thread in threading.enumerate()]


def test_source_that_fails(tmp_path: Path, output: io.FileIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "move_inside", lambda *_: 0)

    class Failing(io.FileIO):
        def readinto(self, _: object) -> int:
            raise OSError(5, "Input/output error")

    (tmp_path / "source").write_bytes(b"x" * 1000)
    fault = pytest.raises(SourceFault, match=r"cannot be read \(Input/output error\)")
    with output, Failing(tmp_path / "source") as source, fault:
        copy_file(source, 1000, output, 0, lambda _: None)


def test_output_that_fails(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 1000)
    fault = pytest.raises(OSError, match="No space left")
    with io.FileIO(tmp_path / "source") as source, io.FileIO("/dev/full", "r+b") as full, fault:
        copy_file(source, 1000, full, 0, lambda _: None)
    assert "sha256" not in [thread.name for thread in threading.enumerate()]


def test_cloned_blocks_are_hashed_as_they_lie(
    tmp_path: Path, output: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where blocks are shared nothing is written, and the rest is copied behind them."""
    data = os.urandom(200_000)
    (tmp_path / "source").write_bytes(data)

    def clone(source: io.FileIO, output: io.FileIO, offset: int, *_: int) -> int:
        output.seek(offset)
        output.write(source.read(131_072))
        return 131_072

    written: list[int] = []
    real = copying.write_all

    def write(file: io.RawIOBase, chunk: memoryview) -> None:
        written.append(len(chunk))
        real(file, chunk)

    monkeypatch.setattr(copying, "clone_range", clone)
    monkeypatch.setattr(copying, "write_all", write)
    monkeypatch.setattr(copying, "move_inside", lambda *_: 0)
    with output, io.FileIO(tmp_path / "source") as source:
        digests = copy_file(source, len(data), output, 65_536, lambda _: None)
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "output").read_bytes()[65_536:] == data
    assert sum(written) == 200_000 - 131_072


def test_no_clone_of_what_is_not_whole_blocks(tmp_path: Path, output: io.FileIO) -> None:
    (tmp_path / "source").write_bytes(b"x" * 65_535)
    with output, io.FileIO(tmp_path / "source") as source:
        assert clone_range(source, output, 0, 65_535) == 0
        assert clone_range(source, output, 4096, 1 << 20) == 0
    assert can_clone(tmp_path / "source", tmp_path) is False
    assert can_clone(tmp_path / "none", tmp_path) is False


def test_memory_stays_small(tmp_path: Path) -> None:
    """A copy of 256 MB takes no 64 MB: measured in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not say how much memory a process has had")
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(256 << 20)
    code = (
        "import io, sys; from solofile.builder.copying import copy_file\n"
        "with io.FileIO(sys.argv[1]) as source, io.FileIO(sys.argv[2], 'w+b') as output:\n"
        "    copy_file(source, 256 << 20, output, 0, lambda _: None)\n"
        "print(open('/proc/self/status').read())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "output")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 64 << 10  # kilobytes


@pytest.mark.parametrize("cloned", [0, 131_072])
def test_what_is_known_is_not_hashed(
    tmp_path: Path, output: io.FileIO, monkeypatch: pytest.MonkeyPatch, cloned: int
) -> None:
    """A range from the middle of a file, shared in part or not at all."""
    data = os.urandom(400_000)
    (tmp_path / "source").write_bytes(data)
    monkeypatch.setattr(copying, "_Hasher", lambda: pytest.fail("hashed"))
    monkeypatch.setattr(copying, "clone_range", fake_clone(cloned))
    seen: list[int] = []
    known = Digests("0" * 64, 7)
    with output, io.FileIO(tmp_path / "source") as source:
        assert copy_file(source, 300_001, output, 65_536, seen.append, start=65_536, known=known) == known
        assert output.tell() == 65_536 + 300_001
    assert (tmp_path / "output").read_bytes()[65_536:] == data[65_536:][:300_001]
    assert seen[-1] == 300_001


def test_what_is_known_is_compared_where_it_is_read(
    tmp_path: Path, output: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(200_000)
    (tmp_path / "source").write_bytes(data)
    right = Digests(hashlib.sha256(data).hexdigest(), zlib.crc32(data))
    with output, io.FileIO(tmp_path / "source") as source:
        assert copy_file(source, len(data), output, 0, lambda _: None, known=right, recheck=True) == right
        for wrong in (right._replace(crc=right.crc ^ 1), right._replace(sha256="0" * 64)):
            with pytest.raises(SourceFault, match="is not what was built"):
                copy_file(source, len(data), output, 0, lambda _: None, known=wrong, recheck=True)
        monkeypatch.setattr(copying, "clone_range", fake_clone(131_072))
        assert copy_file(source, len(data), output, 0, lambda _: None, known=wrong, recheck=True) == wrong


def fake_clone(length: int) -> Callable[..., int]:
    """A file system that shares the first ``length`` bytes of every range."""

    def clone(source: io.FileIO, output: io.FileIO, offset: int, _: int, start: int = 0) -> int:
        source.seek(start)
        output.seek(offset)
        output.write(source.read(length))
        return length

    return clone


def test_plain_copy_of_a_source_that_ends_early(tmp_path: Path, output: io.FileIO) -> None:
    (tmp_path / "source").write_bytes(b"x" * 1000)
    with output, io.FileIO(tmp_path / "source") as source, pytest.raises(SourceFault, match="became shorter"):
        copying.copy_plain(source, 500, 501, output, 0, lambda _: None)


def test_no_clone_from_within_a_block(tmp_path: Path, output: io.FileIO) -> None:
    (tmp_path / "source").write_bytes(bytes(200_000))
    with output, io.FileIO(tmp_path / "source") as source:
        assert clone_range(source, output, 0, 65_536, 4096) == 0


def test_a_range_of_a_file(tmp_path: Path, output: io.FileIO) -> None:
    data = os.urandom(300_000)
    (tmp_path / "source").write_bytes(data)
    with output, io.FileIO(tmp_path / "source") as source:
        digests = copy_file(source, 200_000, output, 65_536, lambda _: None, start=70_000)
        output.seek(65_536)
        assert output.read() == data[70_000:270_000]
    assert digests.sha256 == hashlib.sha256(data[70_000:270_000]).hexdigest()
