"""An engine that is used and stopped leaves no memory behind."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import write_tiny_model


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind (Debian package valgrind)")
def test_nothing_is_lost(
    native_dir: Path, backend: Path, tmp_path: Path, zig_cc: Callable[..., None], native_sources: Path
) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    probe = tmp_path / "probe"
    zig_cc(
        "-O1",
        f"-I{native_sources / 'bridge'}",
        str(Path(__file__).with_name("leak_probe.c")),
        *("-o", str(probe), f"-L{native_dir}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{native_dir}"),
    )
    done = subprocess.run(
        [
            "valgrind",
            "--leak-check=full",
            "--undef-value-errors=no",  # llama.cpp itself branches on a few; not what this test is about
            "--errors-for-leak-kinds=definite,indirect,possible",
            "--error-exitcode=9",
            *(str(probe), str(backend), str(model), str(model.stat().st_size)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"answered \d+ cancelled \d+ late 0", done.stdout)
    assert "definitely lost: 0 bytes" in done.stderr
