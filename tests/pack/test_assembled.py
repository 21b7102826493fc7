"""Assembled runtimes: the same bytes anywhere, from either source of CPython, deaf to what lies around them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from solofile.builder import freezers, inputs
from solofile.builder.elf import newest_glibc
from solofile.builder.hashing import folder_digests
from solofile.builder.libpython import NAME, fetch_library, find_library
from solofile.builder.progress import SilentProgress
from solofile.builder.targets import TARGETS
from solofile.runtime.hardware import target

TARGET = "linux-x86_64"
pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(target() != TARGET, reason="runs what it assembles"),
    pytest.mark.skipif(bool(os.environ.get("SOLOFILE_SKIP_NATIVE")), reason="SOLOFILE_SKIP_NATIVE is set"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the CPython on the package index is 3.11"),
]


def assembled(work: Path, cpython: str | None = None) -> Path:
    work.mkdir(parents=True)
    frozen, version = freezers.choose(TARGETS[TARGET], "assembled", cpython).make(work, SilentProgress)
    assert version.startswith("3.11.")
    return frozen.folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assembled(tmp_path_factory.mktemp("first") / "work")


def test_the_same_bytes_at_another_path(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    second = assembled(tmp_path / "a longer path with spaces" / "work")
    assert folder_digests(first) == folder_digests(second)
    assert str(first.parent).encode() not in (first / "lib" / "python.zip").read_bytes()


def test_it_is_deaf_to_what_lies_around(first: Path, tmp_path: Path) -> None:
    """Modules in the current folder, Python's variables, another program's name, a folder with other letters."""
    evil = "print('planted')\nraise SystemExit(7)\n"
    for name in ("solofile_start", "os", "sitecustomize", "usercustomize", "encodings", "zipimport"):
        (tmp_path / f"{name}.py").write_text(evil)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {tmp_path}\n")
    moved = tmp_path / "Ein Ordner für 模型"
    moved.symlink_to(first)
    planted = {name: str(tmp_path) for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR")}
    planted |= {"PYTHONSTARTUP": str(tmp_path / "os.py"), "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error"}
    command = [moved / "solofile-runtime", "--help"]
    for environment in ({}, planted, {"LC_ALL": "C"}):
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Usage: model.exe [MODE] [OPTION]…")
        assert (done.stderr, "planted" in done.stdout) == ("", False)


def test_an_install_only_archive(tmp_path: Path) -> None:
    """A stand-in, made of the Python that runs here: the same layout, with what its own build leaves to the system."""
    given = tmp_path / "cpython-install_only.tar.gz"
    library = find_library(inputs.site("freeze")) or fetch_library()
    standard = Path(sysconfig.get_path("stdlib"))
    dynamic = Path(sysconfig.get_config_var("DESTSHARED") or standard / "lib-dynload")
    with tarfile.open(given, "w:gz", compresslevel=1) as tar:
        tar.add(library.resolve(), f"python/lib/{NAME}.so.1.0")
        for path in sorted([*standard.glob("*.py"), *standard.glob("*/*.py")]):
            tar.add(path, f"python/lib/python3.11/{path.relative_to(standard)}")
        for path in sorted(dynamic.glob("*.so")):
            tar.add(path, f"python/lib/python3.11/lib-dynload/{path.name}")
        header = tmp_path / "patchlevel.h"
        header.write_text(f'#define PY_VERSION "{platform.python_version()}"\n')
        tar.add(header, "python/include/python3.11/patchlevel.h")
        terms = tmp_path / "LICENSE.txt"
        terms.write_text("Python's license\n")
        tar.add(terms, "python/lib/python3.11/LICENSE.txt")
    folder = assembled(tmp_path / "work", str(given))
    assert (folder / "lib" / f"{NAME}.so.1.0").is_file()
    assert newest_glibc([folder / "solofile-runtime"]) <= (2, 17)
    done = subprocess.run([folder / "solofile-runtime", "--help"], env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: model.exe [MODE] [OPTION]…")
