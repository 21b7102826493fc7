"""The reader of ELF files, on real ones and on damaged ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from solofile.builder.elf import MACHINES, ElfError, is_elf, newest_glibc, read_interface, read_needs

PYTHON = Path(sys.executable).resolve()


def test_a_program_of_this_system() -> None:
    needs = read_needs(PYTHON)
    assert any(name.startswith("libc.so") for name in needs.libraries)
    assert (2, 2) < needs.glibc < (3,)
    assert is_elf(PYTHON)


def test_the_newest_of_several_counts() -> None:
    assert newest_glibc([PYTHON]) == read_needs(PYTHON).glibc
    assert newest_glibc([]) == ()


@pytest.mark.parametrize("length", [0, 4, 20, 63, 64, 100, 1000])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    short = tmp_path / "short"
    short.write_bytes(PYTHON.read_bytes()[:length])
    with pytest.raises(ElfError, match="short"):
        read_needs(short)


@pytest.mark.parametrize("offset", [4, 5])
def test_another_kind_is_refused(tmp_path: Path, offset: int) -> None:
    data = bytearray(PYTHON.read_bytes()[:4096])
    data[offset] ^= 3
    other = tmp_path / "other"
    other.write_bytes(data)
    with pytest.raises(ElfError):
        read_needs(other)


def test_text_is_not_elf(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    assert not is_elf(tmp_path / "a")
    assert not is_elf(tmp_path / "empty")


def test_the_interface_of_a_library(native_dir: Path) -> None:
    library = native_dir / "libggml-base.so"
    interface = read_interface(library)
    assert interface.machine == MACHINES["x86_64"]
    for option, found in (("--defined-only", interface.defined), ("--undefined-only", interface.undefined)):
        done = subprocess.run(["nm", "-D", option, library], capture_output=True, text=True, check=True, timeout=60)
        rows = [line.split() for line in done.stdout.splitlines()]
        assert {row[-1].partition("@")[0] for row in rows if row[-2] not in "wv"} == found


def test_a_program_has_no_interface(reference_server: Path) -> None:
    with pytest.raises(ElfError, match="not a shared library"):
        read_interface(reference_server)
