"""The libraries that a build makes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from solofile.builder import inputs, native
from solofile.builder.elf import read_needs
from tiny_model import write_tiny_model

CORE = native.core_files("linux-x86_64")
RPC = "libggml-rpc.so"
OLDEST_GLIBC = (2, 17)
SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2"}


def libraries(folder: Path) -> list[Path]:
    """The core, the kernels, the one for several machines; tests/gpu looks at the GPU backends, which may be there."""
    found = sorted(path for path in folder.glob("*.so") if path.name in {*CORE, RPC} or "-cpu-" in path.name)
    assert {path.name for path in found} >= {*CORE, RPC, "libggml-cpu-x64.so", "libggml-cpu-haswell.so"}
    return found


def test_nothing_newer_than_glibc_2_17_is_needed(native_dir: Path) -> None:
    needs = {path.name: read_needs(path) for path in libraries(native_dir)}
    assert {name: need.glibc for name, need in needs.items() if need.glibc > OLDEST_GLIBC} == {}
    assert all(need.glibc for need in needs.values()), "the reader has found no version at all"


def test_only_libc_is_needed_of_the_system(native_dir: Path) -> None:
    own = set(CORE)
    for path in libraries(native_dir):
        assert set(read_needs(path).libraries) <= SYSTEM | own, path.name


def test_libraries_are_stripped_and_name_no_folder_of_this_machine(native_dir: Path) -> None:
    for path in libraries(native_dir):
        data = path.read_bytes()
        assert b".symtab" not in data and b".debug_info" not in data, path.name
        for folder in (str(Path.home()), str(inputs.llama_source())):
            assert folder == "/" or folder.encode() not in data, path.name


def test_libraries_look_for_each_other_beside_them_alone(native_dir: Path) -> None:
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).llama_backend_init()"
    command = [sys.executable, "-c", script, str(native_dir / "libllama.so")]
    subprocess.run(command, check=True, cwd="/", env={"PATH": os.defpath}, timeout=60)


def test_libraries_are_of_a_size(native_dir: Path) -> None:
    for path in libraries(native_dir):
        limit = 12_000_000 if path.name == "libllama.so" else 2_500_000
        assert path.stat().st_size < limit, path.name


def test_the_reference_runs(reference_server: Path) -> None:
    done = subprocess.run([reference_server, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert inputs.LLAMA_CPP_COMMIT[:7] in done.stdout + done.stderr


def test_the_reference_quantizes(reference_server: Path, tmp_path: Path) -> None:
    model, smaller = write_tiny_model(tmp_path / "tiny.gguf", width=256), tmp_path / "smaller.gguf"
    program = reference_server.with_name("llama-quantize")
    subprocess.run([program, model, smaller, "Q4_0", "1"], capture_output=True, check=True, timeout=60)
    assert smaller.stat().st_size < 0.5 * model.stat().st_size


def test_a_second_build_is_a_look(native_dir: Path, solofile: list[str]) -> None:
    command = [*solofile, "native", "build", "--kernels", "x64,haswell"]
    durations = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        durations.append(time.monotonic() - started)
        assert done.stdout.strip() == str(native_dir)
        assert done.stderr == ""
    assert min(durations) < 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="cpuinfo is Linux's")
def test_kernels_hold_the_instructions_that_they_are_named_for(native_dir: Path) -> None:
    # The plainest must not hold an AVX instruction: VEX-coded “vzeroupper” is in every function that uses 256 bits.
    vzeroupper = b"\xc5\xf8\x77"
    assert (native_dir / "libggml-cpu-haswell.so").read_bytes().count(vzeroupper) > 20
    assert (native_dir / "libggml-cpu-x64.so").read_bytes().count(vzeroupper) < 5
