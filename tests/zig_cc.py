"""Compiles small C programs and libraries for tests, with the compiler that the builds use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.paths import cache_folder

TRIPLE = "x86_64-linux-gnu.2.17"
WINDOWS = "x86_64-windows-gnu"
SHARED = ("-shared", "-fPIC")


def zig_cc(output: Path, *words: str | Path, triple: str = TRIPLE) -> Path:
    """What comes of these arguments: source files, options."""
    cache = str(cache_folder("zig"))
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    command = [inputs.zig(), "cc", "-target", triple, "-O1", "-fno-sanitize=undefined", "-s", "-o", output, *words]
    subprocess.run([str(word) for word in command], env=environment, check=True, timeout=300)
    return output


def compile_library(output: Path, source: str, *words: str | Path, triple: str = TRIPLE) -> Path:
    """A shared library of that C source; ``words`` are more arguments for the compiler."""
    code = output.with_suffix(".c")
    code.write_text(source)
    return zig_cc(output, *SHARED, code, *words, triple=triple)


def marking_library(folder: Path) -> Path:
    """A library in the folder that writes ``mark`` there when it is loaded."""
    return compile_library(
        folder / "planted.so",
        "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void mark(void)"
        f' {{ close(open("{folder}/mark", O_CREAT | O_WRONLY, 0600)); }}\n',
    )
