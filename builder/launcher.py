"""Compiles the launcher, the native program at the start of every bundle, with the pinned zig.

    <build cache>/launcher/<key>/launcher

The key is the hash of its sources, the compiler and the options, so a second call only hashes 60 KB.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.errors import ToolError
from solofile.builder.hashing import folder_digests
from solofile.builder.paths import build_cache, cache_folder, locked, made_at
from solofile.builder.progress import ticking
from solofile.builder.targets import find_target

NAME = "launcher"
SIZE_LIMIT = 400_000
"""Bytes: a launcher that grows beyond has taken in what it should not."""

TRIPLES = {
    "linux-x86_64": "x86_64-linux-musl",
    "linux-aarch64": "aarch64-linux-musl",
    "macos-aarch64": "aarch64-macos.12.0",
    "macos-x86_64": "x86_64-macos.11.0",
    "windows-aarch64": "aarch64-windows-gnu",
    "windows-x86_64": "x86_64-windows-gnu",
}
"""zig's name for each target. Unlike the libraries the launcher is static: it needs nothing but the kernel. Programs of
macOS get to their kernel through the system's library alone, so there it needs that."""

OPTIONS = (
    "-OReleaseSafe",  # what it reads may be hostile: an index out of bounds must end it, not run on
    "-mcpu=baseline",
    "-fstrip",
    "-fsingle-threaded",
    "-fno-unwind-tables",
    "--stack",
    "1048576",  # zig's default of 16 MB would be raised for the runtime too
)


def build_launcher(target: str) -> Path:
    """The launcher for ``target``, compiled if the cache does not hold it yet. Raises UnknownName, ToolError."""
    triple = TRIPLES[find_target(target).name]
    folder = build_cache() / NAME / launcher_key(triple)
    if not (folder / NAME).is_file():
        with locked(cache_folder(NAME) / f"{folder.name}.lock"):
            if not (folder / NAME).is_file():
                with ticking(f"Compiling the launcher for {target}"), made_at(folder) as temporary:
                    _compile(triple, temporary / NAME)
    return folder / NAME


def launcher_key(triple: str) -> str:
    """The hash of everything that goes into a launcher, as 16 hex digits."""
    facts = {
        "zig": inputs.pins("tools")["ziglang"].version,
        "triple": triple,
        "options": OPTIONS,
        "sources": folder_digests(_sources()),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _sources() -> Path:
    return Path(str(files("solofile.runtime"))) / NAME


def _compile(triple: str, output: Path) -> None:
    cache = str(cache_folder("zig"))
    command = [str(inputs.zig()), "build-exe", str(_sources() / "main.zig"), "-target", triple, *OPTIONS]
    command += ["--cache-dir", cache, "--global-cache-dir", cache, "--name", NAME, f"-femit-bin={output}"]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not output.is_file():
        raise ToolError(f"The launcher could not be compiled for {triple}: {done.stderr.strip()[:4000]}")
    if output.stat().st_size > SIZE_LIMIT:
        raise ToolError(
            f"The launcher for {triple} has {output.stat().st_size} bytes, more than {SIZE_LIMIT}: see what was added."
        )


def _environment() -> dict[str, str]:
    """The user's settings for zig are not for this build: they are in no key."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ZIG_")}
