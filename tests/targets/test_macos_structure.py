"""The packs for macOS, which nothing here can run: all that its loader and its kernel read before they run anything.

What these tests cannot show: that a file that passes them starts. That takes a Mac.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import lief
import mach_files
import pytest
from mach_files import MachFile
from solofile.builder import native
from solofile.builder.machine import header_targets
from solofile.builder.pack import find_or_build
from solofile.builder.packfile import Pack
from solofile.builder.polyglot import SYSTEMS, polyglot
from solofile.builder.targets import TARGETS

pytestmark = pytest.mark.e2e

KERNELS = {"macos-aarch64": "all", "macos-x86_64": "x64,haswell"}
PROCESSORS = {"macos-aarch64": lief.MachO.Header.CPU_TYPE.ARM64, "macos-x86_64": lief.MachO.Header.CPU_TYPE.X86_64}
OLDEST = {"macos-aarch64": (12, 0), "macos-x86_64": (11, 0)}
OVERHEAD = 40_000_000


@pytest.fixture(scope="module", params=sorted(KERNELS))
def mac_pack(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Pack]:
    """The pack of each target; its libraries are compiled when the build cache is empty."""
    if os.environ.get("SOLOFILE_SKIP_NATIVE"):
        pytest.skip("SOLOFILE_SKIP_NATIVE is set")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with ExitStack() as stack:
        with capture.global_and_fixture_disabled():
            pack = stack.enter_context(find_or_build(request.param, kernels=KERNELS[request.param]))
        yield pack


@pytest.fixture(scope="module")
def programs(mac_pack: Pack) -> Mapping[str, MachFile]:
    """Each program and library in the pack, by its path."""
    found = {}
    for path in mac_pack.members:
        data = mac_pack.read(path)
        if header_targets(data[:4096]):
            found[path] = mach_files.of_bytes(data, path)
    return found


@pytest.fixture(scope="module")
def mac_bundle(mac_pack: Pack, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundle for the target."""
    output = tmp_path_factory.mktemp("mac") / "smollm2"
    command = [*solofile, "build", "smollm2-135m.toml", "--pack", str(mac_pack.path), "-o", str(output)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    return output


def test_all_that_it_needs_is_there(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    target = mac_pack.facts.target
    named = {f"runtime/{target}/native/{name}" for name in native.core_files(target)}
    named |= {f"native/{target}/{native.kernel_file(name, target)}" for name in mac_pack.facts.kernels}
    named |= {f"runtime/{target}/{name}" for name in ("solofile-runtime", "libpython3.11.dylib")}
    named |= {f"runtime/{target}/lib/{name}.cpython-311-darwin.so" for name in ("_ssl", "_ctypes", "_socket", "zlib")}
    assert named | {"launcher"} <= programs.keys()
    assert f"runtime/{target}/lib/python.zip" in mac_pack.members
    assert mac_pack.facts.requires == f"macOS {OLDEST[target][0]}"
    assert programs["launcher"].oldest == OLDEST[target]
    unwanted = ("numpy", "tkinter", "ncurses", "readline", "sqlite", "codecs_", "_test")
    assert not [path for path in mac_pack.members for word in unwanted if word in path and "LICENSES" not in path]


def test_each_is_for_this_processor_alone(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    for file in programs.values():
        assert file.binary.header.cpu_type == PROCESSORS[mac_pack.facts.target], file.name
        assert file.oldest <= OLDEST[mac_pack.facts.target], file.name
        mach_files.check_structure(file)


def test_each_library_is_found(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    """In the system, or in the pack by @loader_path or by @rpath; never at a path of the machine that built it."""
    program = f"runtime/{mac_pack.facts.target}/solofile-runtime"
    main = [resolved(program, one.path) for one in programs[program].binary.rpaths]
    for path, file in programs.items():
        folders = [*(resolved(path, one.path) for one in file.binary.rpaths), *main]
        assert all(folders), f"{path} looks for libraries in {[one.path for one in file.binary.rpaths]}"
        for name in file.loads:
            if name.startswith(mach_files.SYSTEM):
                continue
            places = [resolved(path, name)]
            if name.startswith("@rpath/"):
                places = [f"{folder}/{name.removeprefix('@rpath/')}" for folder in folders]
            assert any(place in programs for place in places), f"{path} needs {name}, which is not there"


def resolved(path: str, name: str) -> str:
    """The place in the pack that ``@loader_path/…`` means for a file; nothing for other names."""
    if name == "@loader_path":
        return str(PurePosixPath(path).parent)
    if not name.startswith("@loader_path/"):
        return ""
    return str(PurePosixPath(path).parent / name.removeprefix("@loader_path/"))


def test_the_signatures_hold_page_by_page(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    """Apple's processors run nothing unsigned; Intel's do, and zig signs nothing for them."""
    for path, file in programs.items():
        if not file.binary.has_code_signature:
            assert mac_pack.facts.target == "macos-x86_64", f"{path} is not signed"
            continue
        flags = mach_files.check_signature(file)
        if "/native/" in path or path in ("launcher", f"runtime/{mac_pack.facts.target}/solofile-runtime"):
            assert flags & mach_files.ADHOC, path


def test_a_changed_page_would_be_found(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    if mac_pack.facts.target == "macos-x86_64":
        pytest.skip("not signed")
    launcher = programs["launcher"]
    end = launcher.binary.code_signature.data_offset
    for place in (5000, end - 1):
        data = bytearray(launcher.data)
        data[place] ^= 1
        with pytest.raises(AssertionError, match="is not what was signed"):
            mach_files.check_signature(mach_files.of_bytes(bytes(data), "launcher"))


def test_libraries_give_only_what_they_mean_to(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    """zig puts a libc++ into each, whose parts must not be joined by the loader; memory is malloc's in all of them."""
    target = mac_pack.facts.target
    kernels = {native.kernel_file(name, target) for name in mac_pack.facts.kernels}
    for path, file in programs.items():
        if "/native/" not in f"/{path}":
            continue
        names = {str(symbol.name) for symbol in file.binary.exported_symbols}
        if PurePosixPath(path).name in kernels:
            assert {"_ggml_backend_init", "_ggml_backend_score"} <= names, path
            assert not [name for name in names if not name.startswith(("_ggml_", "__mh_", "___dso_"))], path
        assert not [name for name in names if name.startswith(("__ZNSt", "__ZNKSt", "__ZSt", "__ZTVNSt"))], path


def test_the_launcher_stays_as_signed(mac_bundle: Path, mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    """The archive begins where the launcher ends: nothing of it lies in a segment, and no page that is hashed changes.

    ``codesign --verify --strict`` finds fault with what follows the signature; the kernel does not look there.
    """
    data = mac_bundle.read_bytes()
    launcher = programs["launcher"].data
    assert data.startswith(launcher) and data[len(launcher) :].startswith(b"PK\x03\x04")
    file = mach_files.of_bytes(data, "bundle")
    assert file.end == len(launcher)
    mach_files.check_structure(file)
    if mac_pack.facts.target == "macos-aarch64":
        assert mach_files.check_signature(file) & mach_files.ADHOC


def test_what_a_bundle_weighs_and_says(mac_bundle: Path, mac_pack: Pack, solofile: list[str]) -> None:
    target = mac_pack.facts.target
    for command in ("inspect", "verify"):
        done = subprocess.run([*solofile, command, str(mac_bundle)], capture_output=True, text=True, check=True)
        assert done.stdout
    sizes = {name: mac_pack.entry(name).stored for name in mac_pack.members if name.startswith("native/")}
    rest = mac_pack.stored_size - sum(sizes.values())
    assert rest + len(TARGETS[target].kernels) * 1.4 * max(sizes.values()) < OVERHEAD
    assert mac_bundle.stat().st_size - 98_362_432 < OVERHEAD


def test_a_file_for_both_macs_is_a_script_with_both_launchers(mac_pack: Pack, programs: Mapping[str, MachFile]) -> None:
    """What the script takes out is the launcher to the byte: a file whose signature ends with it."""
    target = mac_pack.facts.target
    made = polyglot({"macos-aarch64": b"other", "macos-x86_64": b"another", target: programs["launcher"].data})
    assert made.startswith(b"#!/bin/sh\n")
    start_of_row = f"{SYSTEMS[target][0]}) block="
    row = next(line for line in made.decode("utf-8", "replace").splitlines() if line.startswith(start_of_row))
    facts = dict(word.split("=") for word in row.split() if "=" in word)
    start = int(facts["block"]) * 512
    taken = mach_files.of_bytes(made[start : start + int(facts["size"])], "launcher")
    assert taken.data == programs["launcher"].data and taken.end == len(taken.data)
