"""An engine on a tiny model that lies deep inside another file, for the tests of the bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
def large_member(tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A model of 90 MB, so that its steps take some time and reading it too."""
    folder = tmp_path_factory.mktemp("large")
    return host_file(folder, write_tiny_model(folder / "large.gguf", layers=8, width=512, context=16384))


@pytest.fixture(scope="session")
def backend(native_dir: Path) -> Path:
    """The kernels that every x86-64 processor can run."""
    return native_dir / "libggml-cpu-x64.so"


@pytest.fixture(scope="session")
def engine(native_dir: Path, backend: Path, member: Member) -> Iterator[LlamaEngine]:
    """A ready engine."""
    options = ["-m", member.name, "-c", "4096", "-np", "2", "--slots", "--slot-save-path", f"{member.file.parent}/"]
    engine = LlamaEngine.start(native_dir, [backend], options, [member])
    assert engine.wait(60).phase == "ready"
    yield engine
    engine.stop(10)


@pytest.fixture
def live(native_dir: Path, member: Member) -> Callable[..., dict[str, Any]]:
    """Runs a function of life.py in a process of its own, with the tiny model or another one."""

    def live(
        scenario: str,
        *options: str,
        model: Member = member,
        variant: str = "x64",
        messages: bool = False,
        **asked: object,
    ) -> dict[str, Any]:
        place = {"name": model.name, "file": str(model.file), "offset": model.offset, "size": model.size}
        job = {"member": place, "variant": variant, "options": options, "calibrate": None, "read_first": False, **asked}
        command = [sys.executable, str(Path(__file__).with_name("life.py")), str(native_dir), json.dumps(job), scenario]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
        assert messages or done.stderr == ""
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return {**result, "messages": done.stderr}

    return live


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
    """Compiles C with the zig that builds the native libraries, for any CPU: valgrind does not know the latest."""

    def compile_c(*arguments: str) -> None:
        subprocess.run([inputs.zig(), "cc", "-mcpu=baseline", *arguments], check=True, timeout=300)

    return compile_c
