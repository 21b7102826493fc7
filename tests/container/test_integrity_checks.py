"""Verifying every byte, extracting every part, and what other programs make of the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from solofile.runtime.container import Bundle
from solofile.runtime.errors import DamagedBundle, InputError
from solofile.runtime.integrity import extract, total_bytes, verify


def flipped(bundle: Path, path: Path, offset: int) -> Path:
    data = bytearray(bundle.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))
    return path


def test_whole_bundle_is_sound(bundle: Path) -> None:
    seen: list[int] = []
    with Bundle.open(bundle) as opened:
        assert verify(opened, seen.append) == []
        assert seen == sorted(seen)
        assert seen[-1] == total_bytes(opened)


def test_one_flipped_byte_in_each_part_names_that_part(bundle: Path, tmp_path: Path) -> None:
    with Bundle.open(bundle) as opened:
        parts = [part for part in opened.parts.values() if part.stored]
    assert len(parts) == 13
    for part in parts:
        for offset in (part.offset, part.offset + part.stored - 1):
            with Bundle.open(flipped(bundle, tmp_path / "x.exe", offset)) as opened:
                damages = verify(opened)
            assert [damage.path for damage in damages] == [part.path], (part, offset)
            assert part.path in damages[0].what


def test_flipped_local_header_is_named(bundle: Path, tmp_path: Path) -> None:
    with Bundle.open(bundle) as opened:
        offset = opened.members["models/odd.gguf"].header_offset + 14
    with Bundle.open(flipped(bundle, tmp_path / "x.exe", offset)) as opened:
        (damage,) = verify(opened)
    assert damage.path == "models/odd.gguf"
    assert "disagrees with the directory" in damage.what


def test_two_damages(bundle: Path, tmp_path: Path) -> None:
    once = flipped(bundle, tmp_path / "x.exe", 5)
    with Bundle.open(bundle) as opened:
        offset = opened.data_offset("models/even.gguf") + 1000
    seen: list[int] = []
    with Bundle.open(flipped(once, tmp_path / "y.exe", offset)) as opened:
        assert [damage.path for damage in verify(opened, seen.append)] == ["launcher", "models/even.gguf"]
        assert max(seen) == total_bytes(opened)


def test_extract_and_put_together(bundle: Path, tmp_path: Path, models: list[Path]) -> None:
    folder = tmp_path / "new" / "parts"
    with Bundle.open(bundle) as opened:
        written = extract(opened, folder)
        assert (folder / "solofile.json").read_bytes() == opened.manifest_bytes
        for path in written[:-1]:
            name = path.relative_to(folder).as_posix()
            assert path.read_bytes() == opened.read(name)
    assert not list(folder.rglob(".align*"))
    assert (folder / "models" / "even.gguf").read_bytes() == models[1].read_bytes()
    assert os.access(folder / "launcher", os.X_OK)
    assert os.access(folder / "runtime/linux-x86_64/solofile-runtime", os.X_OK)
    assert not (folder / "runtime/linux-x86_64/_internal/empty.py").stat().st_mode & 0o111


def test_extract_leaves_no_damaged_part(bundle: Path, tmp_path: Path) -> None:
    with Bundle.open(bundle) as opened:
        offset = opened.data_offset("models/odd.gguf") + 70_000
    damage = pytest.raises(DamagedBundle, match=r"models/odd\.gguf")
    with Bundle.open(flipped(bundle, tmp_path / "x.exe", offset)) as opened, damage:
        extract(opened, tmp_path / "out")
    assert not (tmp_path / "out/models/odd.gguf").exists()


def test_extract_wants_an_empty_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with Bundle.open(bundle) as opened:
        with pytest.raises(InputError, match="is not empty"):
            extract(opened, tmp_path)
        with pytest.raises(InputError, match="cannot be used"):
            extract(opened, tmp_path / "something")


def test_python_reads_it(bundle: Path, models: list[Path]) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"solofile 1 ")
        assert archive.namelist()[-1] == "solofile.json"
        assert archive.read("models/odd.gguf") == models[0].read_bytes()
        info = archive.getinfo("runtime/linux-x86_64/solofile-runtime")
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.external_attr >> 16 == 0o100755


@pytest.mark.parametrize(
    "command",
    [("unzip", "-t"), ("unzip", "-l"), ("7z", "t"), ("7zz", "t"), ("bsdtar", "-tf")],
    ids=" ".join,
)
def test_other_programs_read_it(bundle: Path, tmp_path: Path, command: tuple[str, str]) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    copy = shutil.copy(bundle, tmp_path / "tiny")  # 7-Zip tries PE first, and says so, on a name with .exe
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    if command[0] in ("unzip", "bsdtar"):
        assert "models/odd.gguf" in done.stdout
