"""Compiles small C programs and libraries for tests, with the compiler that the builds use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.paths import cache_folder

TRIPLE = "x86_64-linux-gnu.2.17"


def compile_library(output: Path, source: str, *words: str | Path, triple: str = TRIPLE) -> Path:
    """A shared library of that C source; ``words`` are more arguments for the compiler."""
    code = output.with_suffix(".c")
    code.write_text(source)
    cache = str(cache_folder("zig"))
    command = [inputs.zig(), "cc", "-target", triple, "-O1", "-s", "-shared", "-fPIC", "-o", output, code, *words]
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    subprocess.run([str(word) for word in command], env=environment, check=True, timeout=300)
    return output
