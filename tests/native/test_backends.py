"""GPU backends built elsewhere: what is refused, and what becomes of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from solofile.builder import backends, native
from solofile.builder.backend_trial import interface_version
from solofile.builder.cli import main
from solofile.builder.elf import read_needs
from solofile.builder.errors import BadInput
from solofile.builder.gpu import GpuLibrary
from solofile.runtime.manifest import Gpu
from zig_cc import compile_library

BACKEND = """
__attribute__((visibility("default"))) void *ggml_backend_init(void);
extern const char *{symbol}(int);
static int registration[64] = {{{version}}};
void *ggml_backend_init(void) {{ {first}; return {symbol}(0) ? registration : 0; }}
"""


@pytest.fixture
def libraries(native_libraries: Path) -> native.Native:
    """The native libraries, without a GPU backend."""
    return native.Native(native_libraries.name, "linux-x86_64", ("x64",), native_libraries / "lib", None)


@pytest.fixture(autouse=True)
def gpu_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the checked backends go; the compiler and the sources stay where they are."""
    monkeypatch.setattr(backends, "build_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "gpus"


def build(
    folder: Path,
    libraries: native.Native,
    *words: str | Path,
    name: str = "cuda",
    symbol: str = "ggml_type_name",
    version: int | None = None,
    first: str = "",
) -> Path:
    """A library that ggml would take for a backend."""
    number = interface_version() if version is None else version
    source = BACKEND.format(symbol=symbol, version=number, first=first)
    folder.mkdir(exist_ok=True)
    return compile_library(folder / f"libggml-{name}.so", source, libraries.folder / "libggml-base.so", *words)


def take(path: Path, libraries: native.Native, said: list[str] | None = None) -> GpuLibrary:
    (taken,) = backends.given_backends([path], libraries, (said if said is not None else []).append)
    return taken


def test_a_good_one_is_taken(tmp_path: Path, libraries: native.Native, gpu_cache: Path) -> None:
    said: list[str] = []
    taken = take(build(tmp_path / "made", libraries), libraries, said)
    assert (taken.name, taken.facts) == ("cuda", Gpu("glibc 2.17", (), ()))
    assert taken.path.name == "libggml-cuda.so" and taken.path.is_relative_to(gpu_cache)
    assert said == []


def test_what_it_needs_is_told(tmp_path: Path, libraries: native.Native) -> None:
    driver = compile_library(tmp_path / "libdriver.so", "int driver(void) { return 1; }", "-Wl,-soname,libdriver.so.12")
    said: list[str] = []
    taken = take(build(tmp_path, libraries, driver, first="extern int driver(void); driver()"), libraries, said)
    assert taken.facts.needs == ("libdriver.so.12",)
    # It cannot be loaded here, which is no fault of it.
    assert len(said) == 1
    assert said[0].startswith("libggml-cuda.so was not tried here (libdriver.so.12: cannot open shared object file")


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("__builtin_trap()", "it ended by SIGILL"),
        ("extern void exit(int); exit(3)", "it ended by code 3"),
        ("return 0", "it offers nothing on this machine"),
        ("for (volatile int i = 1; i;);", "it gave no answer within 1 s"),
    ],
)
def test_one_that_cannot_be_tried_is_no_failure(
    tmp_path: Path, libraries: native.Native, monkeypatch: pytest.MonkeyPatch, first: str, problem: str
) -> None:
    monkeypatch.setattr("solofile.builder.backend_trial.SECONDS", 1)
    said: list[str] = []
    take(build(tmp_path, libraries, first=first), libraries, said)
    assert said == [f"libggml-cuda.so was not tried here ({problem}); its symbols fit."]


def test_upstreams_file_names_and_foreign_folders(tmp_path: Path, libraries: native.Native) -> None:
    base = compile_library(
        tmp_path / "base.so", "const char *ggml_type_name(int a) { return 0; }", "-Wl,-soname,libggml-base.so.0"
    )
    paths = ["-Wl,-rpath,/home/somebody/llama.cpp/build/bin", "-Wl,-rpath,/usr/local/cuda/lib64"]
    source = BACKEND.format(symbol="ggml_type_name", version=interface_version(), first="")
    given = compile_library(tmp_path / "libggml-hip.so", source, base, *paths)
    assert b"/home/somebody" in given.read_bytes()
    taken = take(given, libraries)
    assert [name for name in read_needs(taken.path).libraries if "ggml" in name] == ["libggml-base.so"]
    data = taken.path.read_bytes()
    assert b"/home/somebody" not in data and b"\0/usr/local/cuda/lib64\0" in data
    script = "import ctypes, sys; [ctypes.CDLL(path) for path in sys.argv[1:]]"
    command = [sys.executable, "-c", script, libraries.folder / "libggml-base.so", taken.path]
    subprocess.run(command, check=True, env={"PATH": os.defpath}, timeout=60)


def refused(path: Path, libraries: native.Native) -> str:
    with pytest.raises(BadInput) as caught:
        take(path, libraries)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_another_version_of_the_interface(tmp_path: Path, libraries: native.Native) -> None:
    version = interface_version()
    said = refused(build(tmp_path, libraries, version=version + 1), libraries)
    assert (
        f"has version {version + 1} of ggml's backend interface in place of {version}: build it from llama-cpp" in said
    )


def test_another_ggml(tmp_path: Path, libraries: native.Native) -> None:
    path = build(tmp_path, libraries, symbol="ggml_something_newer")
    assert "is of another ggml (it needs ggml_something_newer): build it from llama-cpp-python==" in refused(
        path, libraries
    )


def test_no_backend(tmp_path: Path, libraries: native.Native) -> None:
    path = compile_library(tmp_path / "libggml-cuda.so", "int other(void) { return 1; }")
    assert "cannot be loaded by ggml (it has no ggml_backend_init): build it with GGML_BACKEND_DL=ON" in refused(
        path, libraries
    )


def test_another_processor(tmp_path: Path, libraries: native.Native) -> None:
    source = "void *ggml_backend_init(void) { return 0; }"
    path = compile_library(tmp_path / "libggml-cuda.so", source, triple="aarch64-linux-gnu.2.17")
    assert refused(path, libraries) == f"The GPU backend {path} is for aarch64: build it for x86_64."


def test_a_second_library_of_ggml(tmp_path: Path, libraries: native.Native) -> None:
    extra = compile_library(tmp_path / "extra.so", "int extra(void) { return 1; }", "-Wl,-soname,libggml-cpu.so.0")
    path = build(tmp_path, libraries, extra, first="extern int extra(void); extra()")
    assert "needs libggml-cpu.so, which no bundle has: build it without that" in refused(path, libraries)


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF\x02\x01 cut short", b"MZ" + bytes(100)])
def test_no_library(tmp_path: Path, libraries: native.Native, content: bytes) -> None:
    path = tmp_path / "libggml-cuda.so"
    path.write_bytes(content)
    assert "is no 64-bit ELF file that can be read" in refused(path, libraries)


def test_a_program_is_no_library(tmp_path: Path, libraries: native.Native) -> None:
    path = tmp_path / "libggml-cuda.so"
    path.write_bytes((libraries.folder.parent / "reference" / "llama-server").read_bytes())
    refused(path, libraries)


@pytest.mark.parametrize(
    "name", ["cuda.so", "libggml-cuda.so.0", "libggml-base.so", "libggml-cpu.so", "libggml-cpu-x64.so"]
)
def test_names(tmp_path: Path, libraries: native.Native, name: str) -> None:
    assert "it has to be libggml-<name>.so" in refused(tmp_path / name, libraries)


def test_it_is_not_there(tmp_path: Path, libraries: native.Native) -> None:
    assert "is not there" in refused(tmp_path / "libggml-cuda.so", libraries)


def test_twice(tmp_path: Path, libraries: native.Native) -> None:
    path = build(tmp_path, libraries, name="vulkan")
    both = replace(libraries, gpus=(GpuLibrary("vulkan", Path("built.so"), "", Gpu("", (), ())),))
    assert f"vulkan is given twice (built.so and {path}): leave one out" in refused(path, both)


def test_the_command_line_refuses_in_one_sentence(
    tmp_path: Path, native_libraries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert native_libraries.is_dir()
    (tmp_path / "libggml-cuda.so").write_text("no library")
    assert main(["pack", "build", "--kernels", "x64", "--backend", str(tmp_path / "libggml-cuda.so")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("solofile: The GPU backend cannot be used: ") and error.count("\n") == 1
