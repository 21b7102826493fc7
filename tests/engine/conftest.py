"""An engine on a tiny model that lies deep inside another file, for the tests of the bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedding import host_file
from solofile.builder import inputs
from solofile.runtime.engine import LlamaEngine, Member
from tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A tiny model inside another file."""
    folder = tmp_path_factory.mktemp("engine")
    return host_file(folder, write_tiny_model(folder / "tiny.gguf"))


@pytest.fixture(scope="session")
def backend(native_dir: Path) -> Path:
    """The kernels that every x86-64 processor can run."""
    return native_dir / "libggml-cpu-x64.so"


@pytest.fixture(scope="session")
def engine(native_dir: Path, backend: Path, member: Member) -> Iterator[LlamaEngine]:
    """A ready engine."""
    options = ["-m", member.name, "-c", "4096", "-np", "2", "--slots", "--slot-save-path", f"{member.file.parent}/"]
    engine = LlamaEngine.start(native_dir, backend, options, [member])
    assert engine.wait(60).phase == "ready"
    yield engine
    engine.stop(10)


@pytest.fixture(scope="session")
def native_sources() -> Path:
    """The folder of our native sources."""
    return Path(__file__).parents[2] / "runtime/native"


@pytest.fixture(scope="session")
def llama_cpp_source() -> Path:
    """llama.cpp's source tree, as the pinned sdist carries it."""
    return inputs.llama_source() / "vendor/llama.cpp"


@pytest.fixture(scope="session")
def zig_cc() -> Callable[..., None]:
    """Compiles C with the zig that builds the native libraries."""

    def compile_c(*arguments: str) -> None:
        subprocess.run([inputs.zig(), "cc", *arguments], check=True, timeout=300)

    return compile_c
