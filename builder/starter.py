"""Compiles what starts the runtime in an assembled pack (runtime/starter): a program, or a library for one there is.

<build cache>/starter/<key>/solofile-runtime[.exe] | libstart.so
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.errors import ToolError
from solofile.builder.hashing import folder_digests
from solofile.builder.paths import build_cache, cache_folder, locked, made_at
from solofile.builder.progress import Progress

INSIDE = "libstart.so"
PROGRAM = "solofile-runtime"
OPTIONS = ("-Os", "-g0", "-s", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Starter:
    """What to compile: for a program that holds Python (``python`` None), or beside the shared library ``python``."""

    target: str
    triple: str
    python: str | None

    @property
    def file(self) -> str:
        """The file that is made."""
        if self.python is None:
            return INSIDE
        return PROGRAM + (".exe" if self.target.startswith("windows") else "")


def build_starter(starter: Starter) -> Path:
    """The starter, compiled if the cache does not hold it yet. Raises ToolError."""
    folder = build_cache() / "starter" / starter_key(starter)
    if not (folder / starter.file).is_file():
        with locked(cache_folder("starter") / f"{folder.name}.lock"):
            if not (folder / starter.file).is_file():
                Progress("starter", None).note(f"Compiling what starts the runtime for {starter.target}")
                with made_at(folder) as temporary:
                    _compile(starter, temporary / starter.file)
    return folder / starter.file


def starter_key(starter: Starter) -> str:
    """The hash of everything that goes into a starter, as 16 hex digits."""
    facts = {
        "zig": inputs.pins("tools")["ziglang"].version,
        "starter": [starter.target, starter.triple, starter.python],
        "command": _command(starter, Path("output")),
        "sources": folder_digests(sources()),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def sources() -> Path:
    """The folder runtime/starter."""
    return Path(str(files("solofile.runtime"))) / "starter"


def _command(starter: Starter, output: Path) -> list[str]:
    """The arguments for ``zig cc``, run in the folder of the sources."""
    system = "windows.c" if starter.target.startswith("windows") else "posix.c"
    command = ["cc", "-target", starter.triple, *OPTIONS, "start.c", system, "-o", str(output)]
    if starter.python is None:
        symbols = f"inside-{starter.target.partition('-')[2]}.map"
        return [*command, "inside.c", "-shared", "-fPIC", f"-Wl,-soname,{INSIDE},--version-script={symbols}", "-ldl"]
    command += ["program.c", f'-DSOLOFILE_PYTHON="{starter.python}"']
    if starter.target.startswith("windows"):
        return [*command, "-municode"]
    if starter.target.startswith("macos"):
        # A kernel, which lies elsewhere in the cache, finds ggml here: the program's paths count for all that it loads.
        return [*command, "-Wl,-rpath,@loader_path/native"]
    return [*command, "-ldl", "-Wl,-rpath,$ORIGIN/lib"]


def _compile(starter: Starter, output: Path) -> None:
    cache = str(cache_folder("zig"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZIG_")}
    environment |= {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    command = [str(inputs.zig()), *_command(starter, output)]
    done = subprocess.run(
        command, env=environment, cwd=sources(), capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode or not output.is_file():
        raise ToolError(f"The starter could not be compiled for {starter.triple}: {done.stderr.strip()[:4000]}")
