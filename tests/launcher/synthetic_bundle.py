"""Bundles made for the tests of the launcher: the real launcher before an archive whose runtime is a probe.

The archive is put together from the format's records, so that a test can put it together wrongly.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damaging import flip
from solofile.runtime.archive import DEFLATED, STORED, End, Member, directory_entry, end_records, local_header
from solofile.runtime.container import comment_of, sums_path

TARGET = "linux-x86_64"
FOLDER = f"runtime/{TARGET}/"
PROGRAM = "solofile-runtime"


@dataclass(frozen=True)
class Content:
    """One file of a pack."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Synthetic:
    """A bundle on the disk, and where its members lie."""

    path: Path
    digest: str
    members: dict[str, Member]
    directory: int
    """Offset of the central directory."""
    files: Mapping[str, Content]
    """What its pack holds."""

    def flip(self, offset: int, bits: int = 0xFF) -> None:
        """Change bits of one byte of the file."""
        flip(self.path, offset, bits)


def sums_text(files: Mapping[str, Content]) -> bytes:
    """The list of a pack's files, as FORMAT.md has it."""
    return b"".join(
        f"{hashlib.sha256(file.data).hexdigest()} {len(file.data)} {file.mode:04o} {path}\n".encode()
        for path, file in sorted(files.items())
    )


def write_bundle(
    path: Path,
    launcher: bytes,
    files: Mapping[str, Content],
    *,
    sums: bytes | None = None,
    target: str = TARGET,
    model: bytes = b"model" * 1000,
    compression: tuple[int, int] = (9, zlib.Z_DEFAULT_STRATEGY),
) -> Synthetic:
    """Write a bundle of ``files``, executable.

    ``sums`` replaces the right list of files by another text; ``compression`` is zlib's level and strategy.
    """
    text = sums_text(files) if sums is None else sums
    plan = [(f"runtime/{target}/{name}", file.data, DEFLATED, file.mode) for name, file in sorted(files.items())]
    plan.append((sums_path(target), text, DEFLATED, 0o644))
    plan.append(("models/m.gguf", model, STORED, 0o644))
    manifest = json.dumps({"format": 1, "name": "probe"}).encode()
    plan.append(("solofile.json", manifest, STORED, 0o644))
    body, members = launcher, []
    for name, data, method, mode in plan:
        stored = _deflate(data, *compression) if method == DEFLATED else data
        member = Member(name, method, mode, zlib.crc32(data), len(stored), len(data), len(body))
        body += local_header(member) + stored
        members.append(member)
    directory = b"".join(map(directory_entry, members))
    end = End(len(members), len(body), len(directory), comment_of(manifest, directory))
    path.write_bytes(body + directory + end_records(end))
    path.chmod(0o755)
    return Synthetic(path, hashlib.sha256(text).hexdigest(), {m.path: m for m in members}, len(body), files)


def _deflate(data: bytes, level: int, strategy: int) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    return deflater.compress(data) + deflater.flush()


def probe_files(probe: bytes) -> dict[str, Content]:
    """A pack with folders in it, so that checks have something to walk."""
    return {
        PROGRAM: Content(probe, 0o755),
        "_internal/lib/deep/empty": Content(b""),
        "_internal/lib/libx.so": Content(b"library " * 20_000, 0o755),
        "_internal/lib-data/text.txt": Content("räksmörgås\n".encode()),
        "_internal/noise.bin": Content(os.urandom(150_000)),
        "native/libllama.so": Content(b"\0" * 70_000, 0o755),
    }


@dataclass(frozen=True)
class Run:
    """How a start ended."""

    code: int
    out: str
    err: str

    @property
    def arguments(self) -> list[str]:
        """What the probe was given, its name first."""
        return [line[4:] for line in self.out.splitlines() if line.startswith("arg ")]

    @property
    def environment(self) -> dict[str, str]:
        """What the probe found in its environment."""
        items = [line[4:].partition("=") for line in self.out.splitlines() if line.startswith("env ")]
        return {name: value for name, _, value in items}

    def fact(self, name: str) -> str:
        """One of the probe's other lines."""
        return next(line.partition(" ")[2] for line in self.out.splitlines() if line.startswith(f"{name} "))


def run(command: Sequence[str | Path], env: Mapping[str, str | Path], *, timeout: float = 60, **options: Any) -> Run:
    """Run a program to its end with exactly this environment."""
    done = subprocess.run(
        [str(part) for part in command], env={name: str(value) for name, value in env.items()},
        capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL, **options,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr)
