"""Where a target's CPython comes from: what is taken of an archive, and which ones are refused."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import tarfile
from pathlib import Path

import pytest
from solofile.builder import analysis, assembling, cli, cpython_wheels, freezers
from solofile.builder.cpython import module_name
from solofile.builder.cpython_archive import from_archive
from solofile.builder.errors import BadInput
from solofile.builder.machine import header_targets, own_slice
from solofile.builder.targets import TARGETS

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "build cache"
    monkeypatch.setenv("SOLOFILE_BUILD_CACHE", str(folder))
    return folder


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<2H", 3, machine) + bytes(44)


def pe(machine: int) -> bytes:
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H", machine) + bytes(64)


def macho(*machines: int) -> bytes:
    if len(machines) == 1:
        return struct.pack("<2I", 0xFEEDFACF, machines[0]) + bytes(24)
    return struct.pack(">2I", 0xCAFEBABE, len(machines)) + b"".join(
        struct.pack(">5I", one, 0, 0, 0, 0) for one in machines
    )


HEADERS = {
    "linux-x86_64": elf(62),
    "linux-aarch64": elf(183),
    "windows-x86_64": pe(0x8664),
    "windows-aarch64": pe(0xAA64),
    "macos-x86_64": macho(0x01000007),
    "macos-aarch64": macho(0x0100000C),
}


def test_headers_tell_the_target() -> None:
    assert {name: header_targets(data) for name, data in HEADERS.items()} == {name: (name,) for name in HEADERS}
    assert header_targets(macho(0x01000007, 0x0100000C)) == ("macos-x86_64", "macos-aarch64")
    assert header_targets(elf(243)) == ("linux-machine 0xf3",)
    assert [header_targets(data) for data in (b"", b"MZ", b"\x7fELF", b"#!/bin/sh\n")] == [(), (), (), ()]


def test_a_universal_file_gives_the_part_that_is_wanted() -> None:
    parts = {"macos-x86_64": b"intel" * 9, "macos-aarch64": b"arm" * 30}
    table = struct.pack(">2I", 0xCAFEBABE, 2)
    table += struct.pack(">5I", 0x01000007, 3, 4096, 45, 12) + struct.pack(">5I", 0x0100000C, 0, 8192, 90, 14)
    data = table.ljust(4096, b"\0") + parts["macos-x86_64"].ljust(4096, b"\0") + parts["macos-aarch64"]
    assert {target: own_slice(data, target) for target in parts} == parts
    assert own_slice(data, "linux-x86_64") == data
    assert own_slice(HEADERS["macos-x86_64"], "macos-x86_64") == HEADERS["macos-x86_64"]


def test_names_of_extension_modules() -> None:
    files = {
        "_ssl.cpython-311-x86_64-linux-gnu.so": "_ssl",
        "_overlapped.pyd": "_overlapped",
        "_speedups.cp311-win_amd64.pyd": "_speedups",
        "_cffi.abi3.so": "_cffi",
        "math.cpython-311-darwin.so": "math",
        "libcrypto.so.3": None,
        "libpython3.11.so": None,
        "sqlite3.dll": None,
    }
    assert {file: module_name(file) for file in files} == files


def archive(
    path: Path, core: bytes, minor: str = MINOR, library: str = "", extra: dict[str, bytes] | None = None
) -> Path:
    """A stand-in with the layout of an ``install_only`` archive for Linux."""
    members = {
        f"python/lib/{library or f'libpython{minor}.so.1.0'}": core,
        f"python/lib/python{minor}/os.py": b"name = 'posix'\n",
        f"python/lib/python{minor}/LICENSE.txt": b"PSF\n",
        f"python/lib/python{minor}/test/regrtest.py": b"",
        f"python/lib/python{minor}/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so": core,
        f"python/include/python{minor}/patchlevel.h": f'#define PY_VERSION      "{minor}.9"\n'.encode(),
        "python/bin/python3": core,
        **(extra or {}),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_is_taken_apart(tmp_path: Path, cache: Path) -> None:
    given = archive(tmp_path / "cpython.tar.gz", elf(62), extra={"python/../../evil.so": b"x", "/evil.py": b"x"})
    python = from_archive(f"{given}#{hashlib.sha256(given.read_bytes()).hexdigest()}", TARGETS["linux-x86_64"])
    assert (python.version, python.minor) == (f"{MINOR}.9", MINOR)
    assert python.library is not None and python.library.name == f"libpython{MINOR}.so.1.0"
    assert set(python.extensions) == {"_ctypes"}
    assert python.standard is not None and (python.standard / "os.py").read_bytes() == b"name = 'posix'\n"
    assert python.terms == {"cpython": b"PSF\n"}
    names = {path.name for path in cache.rglob("*") if path.is_file()}
    assert not {"regrtest.py", "evil.so", "evil.py", "python3"} & names
    assert not (tmp_path / "evil.so").exists()


@pytest.mark.parametrize("other", [name for name in HEADERS if name != "linux-x86_64"])
def test_an_archive_for_another_machine_is_refused(other: str, tmp_path: Path, cache: Path) -> None:
    given = archive(tmp_path / "cpython.tar.gz", HEADERS[other])
    with pytest.raises(BadInput, match=rf"cpython.tar.gz is for {other} \(.*\) and not for linux-x86_64: "):
        from_archive(str(given), TARGETS["linux-x86_64"])
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_other_archives_that_are_refused(tmp_path: Path, cache: Path) -> None:
    target = TARGETS["linux-x86_64"]
    given = archive(tmp_path / "cpython.tar.gz", elf(62))
    with pytest.raises(BadInput, match=r"and not 0000.*: it is not the archive that was meant"):
        from_archive(f"{given}#{'0' * 64}", target)
    with pytest.raises(BadInput, match="is no SHA-256"):
        from_archive(f"{given}#abc", target)
    with pytest.raises(BadInput, match="needs the archive's SHA-256"):
        from_archive("https://localhost/cpython.tar.gz", target)
    with pytest.raises(BadInput, match="is not there"):
        from_archive(str(tmp_path / "none.tar.gz"), target)
    with pytest.raises(BadInput, match=r"is CPython 3\.7\.9, and solofile runs in"):
        from_archive(str(archive(tmp_path / "old.tar.gz", elf(62), minor="3.7")), target)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(BadInput, match="no tar archive that can be read"):
        from_archive(str(tmp_path / "text"), target)
    with pytest.raises(BadInput, match="holds no Python library"):
        from_archive(str(archive(tmp_path / "bare.tar.gz", elf(62), library="other.so")), target)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_the_source_is_chosen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(freezers, "host_target", lambda: "linux-x86_64")
    monkeypatch.setattr(cpython_wheels, "running_minor", lambda: "3.11")
    for name in ("linux-x86_64", "linux-aarch64"):
        assert freezers.choose(TARGETS[name]).name == "assembled"
    assert freezers.choose(TARGETS["linux-x86_64"], "pyinstaller").name == "pyinstaller"
    monkeypatch.setattr(cpython_wheels, "running_minor", lambda: "3.12")
    assert freezers.choose(TARGETS["linux-x86_64"]).name == "pyinstaller"
    with pytest.raises(BadInput, match=r"that can be fetched is 3\.11, and solofile runs in"):
        freezers.choose(TARGETS["linux-aarch64"])
    with pytest.raises(BadInput, match="does not go with --freezer pyinstaller"):
        freezers.choose(TARGETS["linux-x86_64"], "pyinstaller", "file")
    assert cli.main(["pack", "build", "--freezer", "assembeld"]) == 2
    assert "Unknown freezer assembeld: did you mean assembled?" in capsys.readouterr().err


def test_what_the_analysis_found() -> None:
    found = {
        "os": ("SourceModule", "/lib/os.py"),
        "flask": ("Package", "/site/flask/__init__.py"),
        "flask.sansio": ("NamespacePackage", "-"),
        "_ssl": ("Extension", "/lib/_ssl.so"),
        "nt": ("MissingModule", None),
        "'click.testing'": ("MissingModule", None),
        "click": ("ExcludedModule", None),
        "pyi_x": ("SourceModule", "/freezer/PyInstaller/x.py"),
    }
    used = analysis.used(found, Path("/freezer"))
    assert used.pure == {"os": Path("/lib/os.py"), "flask": Path("/site/flask/__init__.py"), "flask.sansio": None}
    assert used.packages == {"flask", "flask.sansio"}
    assert used.compiled == {"_ssl", "nt"}


def test_only_libraries_that_are_loaded_are_taken() -> None:
    python = cpython_wheels.TargetPython(
        target="windows-x86_64",
        version="3.11.14",
        extensions={},
        libraries={"libssl-3.dll": b"needs LIBCRYPTO-3.dll", "libcrypto-3.dll": b"", "tk86t.dll": b""},
        terms={},
        key="",
    )
    taken = dict(assembling.needed_libraries(python, [b"_ssl.pyd needs libssl-3.dll"]))
    assert list(taken) == ["libssl-3.dll", "libcrypto-3.dll"]
