"""The pack that a build makes: what is in it, how large it is, how fast it starts."""

from __future__ import annotations

import json
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.builder import freezers, inputs, native, paths
from solofile.builder import pack as pack_module
from solofile.builder.elf import is_elf, newest_glibc
from solofile.builder.launcher import build_launcher
from solofile.builder.packfile import Pack
from solofile.builder.progress import SilentProgress
from solofile.builder.targets import TARGETS

LIMIT = 40_000_000
TARGET = "linux-x86_64"
KERNELS = "all"


@pytest.fixture(scope="module")
def opened(pack: Path) -> Iterator[Pack]:
    with Pack.open(pack) as found:
        yield found


@pytest.fixture(scope="module")
def unpacked(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime as the launcher unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(pack) as archive:
        for info in archive.infolist():
            path = Path(archive.extract(info, folder))
            path.chmod(info.external_attr >> 16 & 0o777)
    return folder / "runtime" / TARGET


def test_everything_that_a_bundle_needs_is_there(opened: Pack) -> None:
    names = set(opened.members)
    assert {f"runtime/{TARGET}/native/{name}" for name in native.core_files(TARGET)} <= names
    assert {f"native/{TARGET}/libggml-cpu-{name}.so" for name in ("x64", "haswell")} <= names
    assert f"native/{TARGET}/libggml-rpc.so" in names
    assert {f"runtime/{TARGET}/solofile-runtime", f"runtime/{TARGET}.sums", "launcher"} <= names
    assert f"runtime/{TARGET}/lib/solofile/webui/index.html" in names
    assert opened.facts.kernels == tuple(sorted(TARGETS[TARGET].kernels))
    assert opened.facts.llama_cpp.source == inputs.LLAMA.requirement


def test_nothing_is_there_that_a_bundle_does_not_need(opened: Pack) -> None:
    unwanted = ("numpy", "gguf", "tkinter", "setuptools", "pip", "unittest", "readline", "sqlite", "codecs_", "jinja2")
    found = [name for name in opened.members for word in unwanted if word in name and not name.startswith("LICENSES/")]
    assert found == []


def test_the_frozen_modules_are_the_needed_ones(unpacked: Path) -> None:
    modules = _modules(unpacked / "lib" / "python.zip")
    needed = {"solofile.runtime.cli", "solofile.runtime.engine", "flask.app", "cheroot.server", "llama_cpp.llama_cpp"}
    assert needed <= modules
    for name in ("numpy", "gguf", "setuptools", "unittest", "multiprocessing", "tkinter", "jinja2", "click"):
        assert not {module for module in modules if module.split(".")[0] == name}, name
    assert not {name for name in modules if name.startswith("solofile.builder")}


def _modules(archive: Path) -> set[str]:
    """The modules in the archive that the runtime imports from."""
    with zipfile.ZipFile(archive) as opened:
        names = [name.removesuffix(".pyc").removesuffix("/__init__") for name in opened.namelist()]
    return {name.replace("/", ".") for name in names}


def test_a_bundle_of_all_kernels_stays_under_the_limit(opened: Pack) -> None:
    sizes = {name: opened.entry(name).stored for name in opened.members if name.startswith("native/")}
    rest = opened.stored_size - sum(sizes.values())
    assert rest < 16_000_000
    assert rest + len(TARGETS[TARGET].kernels) * 1.4 * max(sizes.values()) < LIMIT


def test_the_oldest_glibc_is_told(opened: Pack, unpacked: Path) -> None:
    assert opened.facts.requires == "glibc 2.17"
    programs = [path for path in unpacked.rglob("*") if path.is_file() and is_elf(path)]
    assert newest_glibc(programs) == (2, 17)


def test_programs_are_stripped_and_modes_are_right(unpacked: Path) -> None:
    for path in unpacked.rglob("*"):
        if path.is_file():
            program = is_elf(path)
            assert path.stat().st_mode & 0o777 == (0o755 if program else 0o644)
            large = path.stat().st_size > 100_000  # a small one of a package is as its wheel has it
            assert not (program and large) or b".debug_info" not in path.read_bytes()[-20_000:], path


def test_every_part_has_its_license(opened: Pack) -> None:
    named = {name.removeprefix("LICENSES/").removesuffix(".txt") for name in opened.members if name.endswith(".txt")}
    assert {"solofile", "python", "panda3d", "openssl", "libffi", "zlib"} <= named
    assert {"llama.cpp", "llama-cpp-python", "cpp-httplib", "libcxx"} <= named
    assert "pyinstaller" not in named, "nothing of it is in an assembled pack"
    assert set(inputs.pins("runtime")) <= named
    for name in named:
        text = opened.read(f"LICENSES/{name}.txt")
        assert len(text) > 200 or b"Public domain" in text, f"{name}: {text!r}"
    assert not any("readline" in name for name in named)


def test_its_components_are_listed(opened: Pack) -> None:
    """By name and version, those of the system as well; what the freeze leaves out is not among them."""
    found = {one["name"]: one for one in json.loads(opened.read("LICENSES/components.json"))}
    assert found["flask"]["version"] == inputs.pins("runtime")["flask"].version
    assert found["flask"]["purl"] == f"pkg:pypi/flask@{found['flask']['version']}"
    (source,) = found["llama.cpp"]["externalReferences"]
    assert source["hashes"] == [{"alg": "SHA-256", "content": inputs.LLAMA.sha256}]
    assert found["llama.cpp"]["purl"].endswith(inputs.LLAMA_CPP_COMMIT)
    assert found["cpython"]["version"] == opened.facts.python
    assert {"zig", "libcxx", "musl", "panda3d", "openssl", "cpp-httplib", "cheroot", "werkzeug"} <= set(found)
    assert not {"click", "jinja2", "python"} & set(found)
    named = {Path(name).stem for name in opened.members if name.endswith(".txt")}
    assert named - set(found) <= {"python", "click", "jinja2", "jaraco-functools", "more-itertools"}
    assert list(found) == sorted(found)


def test_it_starts_and_imports_its_app_quickly(unpacked: Path) -> None:
    durations = []
    for _ in range(5):
        started = time.monotonic()
        done = subprocess.run(
            [unpacked / "solofile-runtime", "--version"], env={}, capture_output=True, text=True, timeout=30
        )
        durations.append(time.monotonic() - started)
        assert done.returncode == 2 and "start the bundle" in done.stderr
    assert min(durations) < 0.4, f"{durations}"


def test_the_same_inputs_give_the_same_pack(opened: Pack, tmp_path: Path) -> None:
    libraries = native.build(TARGET, kernels=KERNELS)
    way = freezers.choose(TARGETS[TARGET])
    pack_module._make(tmp_path / "again", libraries, build_launcher(TARGET), way, SilentProgress)
    with Pack.open(tmp_path / "again" / "pack.zip") as again:
        assert {name: one.sha256 for name, one in again.members.items()} == {
            name: one.sha256 for name, one in opened.members.items()
        }
    assert (tmp_path / "again" / "pack.zip").read_bytes() == opened.path.read_bytes()
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"pack.zip", "inputs.json"}


def test_a_second_build_is_a_look(pack: Path, solofile: list[str]) -> None:
    command = [*solofile, "pack", "build", "--kernels", KERNELS]
    durations = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        durations.append(time.monotonic() - started)
        assert done.stdout.strip() == str(pack)
    assert min(durations) < 1.0
    assert pack.is_relative_to(paths.build_cache())
