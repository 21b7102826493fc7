"""What the tests of faults share: a CPU variant that misbehaves, folders in a state of their own, and what is left."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from solofile.builder.packfile import LAUNCHER_NAME, Pack, PackSource, write_pack
from solofile.runtime.container import sums_path
from zig_cc import SHARED, zig_cc

SOURCE = Path(__file__).with_name("faulty_variant.c")


class FaultyVariant:
    """A library in the place of a CPU variant; each program that uses it notes that."""

    def __init__(self, folder: Path) -> None:
        self._control, self._log = folder / "control", folder / "log"
        words = (*SHARED, f'-DCONTROL="{self._control}"', f'-DLOG="{self._log}"', SOURCE)
        self.library = zig_cc(folder / "faulty.so", *words)

    def tell(self, what: str) -> None:
        """From now on it does this: illegal, crash, hang or memory; nobody has used it yet."""
        self._control.write_text(what)
        self._log.touch()
        self._log.chmod(0)

    @property
    def uses(self) -> int:
        """How often it was initialised."""
        return self._log.stat().st_mode & 0o777


def pack_with(pack: Path, output: Path, variants: Mapping[str, Path | None]) -> None:
    """Write a pack with these CPU variants alone, each from a file, or None for what the ``pack`` holds."""
    with Pack.open(pack) as plain:
        target = plain.facts.target
        files = {name: f"native/{target}/libggml-cpu-{name}.so" for name in variants}
        skipped = (LAUNCHER_NAME, sums_path(target))
        kept = [
            member
            for path, member in plain.members.items()
            if path not in skipped and (not path.startswith(f"native/{target}/libggml-cpu-") or path in files.values())
        ]
        given = {files[name]: source for name, source in variants.items() if source is not None}
        sources = [PackSource(one.path, given.get(one.path) or plain.read(one.path), one.mode) for one in kept]
        facts = replace(plain.facts, kernels=tuple(variants))
        write_pack(output, facts=facts, launcher=plain.read(LAUNCHER_NAME), files=sources)


@dataclass(frozen=True)
class View:
    """A mount namespace: ``prefix`` goes before the command of a program that is to run in it."""

    pid: int

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]

    def path(self, path: Path) -> Path:
        """The same path from outside."""
        return Path(f"/proc/{self.pid}/root{path}")


@contextmanager
def view(script: str, *words: str | Path) -> Iterator[View]:
    """A mount namespace in which the shell has run ``script``, with these words as $1, $2, …; gone after the block."""
    command = ["unshare", "--mount", "sh", "-ec", f"{script}\necho ready; exec sleep 3600", "sh", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield View(process.pid)
        finally:
            process.kill()


def processes(cache: Path) -> list[str]:
    """The programs that run with this cache folder."""
    mark = f"SOLOFILE_CACHE_DIR={cache}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def left_behind(cache: Path, seen: Path | None = None) -> list[str]:
    """What should not be there once a start has ended: programs, unfinished files, images of memory.

    ``seen`` is where the cache can be looked at, if that is elsewhere.
    """
    names = [str(path) for path in (seen or cache).rglob("*") if path.name.startswith((".tmp", "core", "crash-"))]
    return processes(cache) + names


def children(pid: int) -> list[int]:
    """The processes that a process has started, whichever of its threads did."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(one) for one in (task / "children").read_text().split()]
    return found


def threads(pid: int) -> list[dict[str, str]]:
    """What the kernel says of each thread of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (line.partition(":") for line in (task / "status").read_text().splitlines())
        fields = {name: value.strip() for name, _, value in lines}
        found.append({name: fields[name] for name in ("NoNewPrivs", "Seccomp")})
    return found
