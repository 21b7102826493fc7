"""A pack is written in the order of a bundle, read back, and never built from when it is damaged."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from bundles import FACTS, LAUNCHER, TARGET, make_pack, pack_files
from solofile.builder.errors import PackError
from solofile.builder.packfile import Pack, PackSource, write_pack
from solofile.runtime.archive import EPOCH_1980

SUMS = f"runtime/{TARGET}.sums"


def test_contents(pack_path: Path) -> None:
    with Pack.open(pack_path) as pack:
        assert pack.facts == FACTS
        assert pack.read("launcher") == LAUNCHER
        for file in pack_files():
            assert pack.read(file.path) == file.source
            assert (pack.members[file.path].mode, pack.members[file.path].size) == (file.mode, len(file.read()))
            assert pack.members[file.path].sha256 == hashlib.sha256(file.read()).hexdigest()
            assert pack.entry(file.path).stamp == EPOCH_1980


def test_order_and_sums(pack_path: Path) -> None:
    with Pack.open(pack_path) as pack:
        assert list(pack.members) == [
            "launcher",
            f"runtime/{TARGET}/_internal/base_library.zip",
            f"runtime/{TARGET}/_internal/empty.py",
            f"runtime/{TARGET}/native/libllama.so",
            f"runtime/{TARGET}/solofile-runtime",
            SUMS,
            f"native/{TARGET}/libggml-cpu-haswell.so",
            f"native/{TARGET}/libggml-cpu-x64.so",
            "LICENSES/llama.cpp.txt",
        ]
        sums = pack.read(SUMS)
        assert pack.digest == hashlib.sha256(sums).hexdigest()
        empty = hashlib.sha256(b"").hexdigest()
        assert sums.decode().splitlines()[1] == f"{empty} 0 0644 _internal/empty.py"
        assert sums.decode().splitlines()[3].endswith(" 6993 0755 solofile-runtime")


def test_pack_of_a_runtime_alone(tmp_path: Path) -> None:
    with make_pack(tmp_path / "pack.zip", [PackSource(f"runtime/{TARGET}/a", b"a")]) as pack:
        assert list(pack.members) == ["launcher", f"runtime/{TARGET}/a", SUMS]


def test_other_programs_read_it(pack_path: Path) -> None:
    with zipfile.ZipFile(pack_path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1] == "pack.json"


def test_same_files_same_bytes(pack_path: Path, tmp_path: Path) -> None:
    files = []
    for number, file in enumerate(reversed(pack_files())):
        source = tmp_path / str(number)
        source.write_bytes(file.read())
        files.append(PackSource(file.path, source, file.mode))
    make_pack(tmp_path / "again.zip", files).close()
    assert (tmp_path / "again.zip").read_bytes() == pack_path.read_bytes()


@pytest.mark.parametrize("path", ["native/other/x.so", "solofile.json", "runtime/linux-x86_64.sums", "models/x.gguf"])
def test_path_that_no_pack_has(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="cannot be a member"):
        write_pack(tmp_path / "p.zip", facts=FACTS, launcher=b"x", files=[PackSource(path, b"")])
    assert not list(tmp_path.iterdir())


def test_path_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        write_pack(tmp_path / "p.zip", facts=FACTS, launcher=b"x", files=[PackSource("LICENSES/a", b"")] * 2)


def test_nothing_is_left_when_a_source_is_missing(tmp_path: Path) -> None:
    files = [PackSource("LICENSES/a", tmp_path / "none")]
    with pytest.raises(FileNotFoundError):
        write_pack(tmp_path / "p.zip", facts=FACTS, launcher=b"x", files=files)
    assert not list(tmp_path.iterdir())


def test_missing_pack(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be opened: No such file"):
        Pack.open(tmp_path / "none.zip")


def test_every_flipped_byte_is_noticed(pack_path: Path, tmp_path: Path) -> None:
    """At once in the facts and the directory; when it is copied, in a member; a local header is not copied at all."""
    good = pack_path.read_bytes()
    path = tmp_path / "pack.zip"
    with Pack.open(pack_path) as pack:
        data = {
            offset: name
            for name in pack.members
            for offset in range(pack.entry(name).data_offset, pack.entry(name).end)
        }
        start = max(pack.entry(name).end for name in pack.members) + len("pack.json") + 30
    for offset in [*sorted(data)[::17], *range(start, len(good), 17)]:
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 2]) + good[offset + 1 :])
        with pytest.raises(PackError, match="is damaged"), Pack.open(path) as pack:
            pack.read(data[offset])


def test_cut_pack(pack_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    for length in (0, 10, 1000, len(pack_path.read_bytes()) - 1):
        path.write_bytes(pack_path.read_bytes()[:length])
        with pytest.raises(PackError, match="is damaged"):
            Pack.open(path)
