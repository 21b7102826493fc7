"""Finds packs (pack_store.py) or makes them: a target's runtime with its libraries, launcher and licenses in one file.

<build cache>/packs/<key>/
    pack.zip        see packfile.py
    inputs.json     the files of the system that went in: the pack is made anew when one of them has changed
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from solofile.builder import freezers, freezing, inputs, native, pack_store
from solofile.builder.backends import given_backends
from solofile.builder.elf import is_elf, newest_glibc
from solofile.builder.freezers import Freezer
from solofile.builder.hashing import file_sha256
from solofile.builder.launcher import build_launcher
from solofile.builder.machine import made_for
from solofile.builder.native import Native
from solofile.builder.pack_store import sources_digest
from solofile.builder.packfile import LAUNCHER_NAME, Pack, PackFacts, PackSource, write_pack
from solofile.builder.paths import build_cache, cache_folder, keep_newest, locked, mark_used
from solofile.builder.progress import Progress, ticking
from solofile.builder.targets import find_gpus, find_kernels, find_target
from solofile.builder.tools import ProgressMaker
from solofile.runtime.container import sums_path
from solofile.runtime.manifest import LlamaCpp

FORMAT = 3

OLDEST = {
    "macos-aarch64": "macOS 12",  # the first that tells what the processor can do, which ggml asks for
    "macos-x86_64": "macOS 11",
    "windows-aarch64": "Windows 10",
    "windows-x86_64": "Windows 10",
}
"""What packs for other systems than Linux need; there the oldest C library is read from the files."""


def find_or_build(
    target: str | None = None,
    *,
    kernels: str = "all",
    gpus: str = "none",
    backends: Sequence[Path] = (),
    freezer: str | None = None,
    cpython: str | None = None,
    progress: ProgressMaker = Progress,
) -> Pack:
    """The pack for ``target`` with these kernels and GPU backends, made first if the cache does not hold it.

    ``kernels`` is ``all``, ``host`` or names with commas, ``gpus`` is ``none`` or names with commas, ``backends`` are
    files of GPU backends built elsewhere; ``freezer`` and ``cpython`` say where the Python part is from (freezers.py).
    Raises UnknownName, BadInput, BuildError.
    """
    wanted = find_target(target)
    if not (backends or freezer or cpython):
        ready = pack_store.find(wanted, find_kernels(wanted, kernels), find_gpus(wanted, gpus), _note)
        if ready:
            return ready
    inputs.python()  # an executable of its own makes no packs
    way = freezers.choose(wanted, freezer, cpython)
    libraries = native.build(wanted.name, kernels=kernels, gpus=gpus, progress=progress)
    given = given_backends(backends, libraries, Progress("GPU backends", None).note)
    libraries, plain = replace(libraries, gpus=(*libraries.gpus, *given)), replace(libraries, gpus=())
    launcher = build_launcher(wanted.name)
    folder = _current(plain, launcher, way, lambda folder: _make(folder, plain, launcher, way, progress))
    if libraries.gpus:
        without = folder
        folder = _current(libraries, launcher, way, lambda folder: _add_gpus(folder, without, libraries, progress))
    return Pack.open(folder / "pack.zip")


def _current(libraries: Native, launcher: Path, way: Freezer, make: Callable[[Path], None]) -> Path:
    """The folder of the pack with these libraries, made by ``make`` unless it is there."""
    folder = build_cache() / "packs" / pack_key(libraries, launcher, way)
    if not _is_current(folder):
        with locked(cache_folder("packs") / f"{folder.name}.lock", waiting=_say_waiting):
            if not _is_current(folder):
                make(folder)
                keep_newest(folder.parent)
    mark_used(folder)
    return folder


def pack_key(libraries: Native, launcher: Path, way: Freezer) -> str:
    """The hash of everything that goes into a pack but the system's files, as 16 hex digits."""
    facts = {
        "format": FORMAT,
        "native": [libraries.key, *libraries.kernels],
        "gpus": {gpu.name: [gpu.sha256, dataclasses.asdict(gpu.facts)] for gpu in libraries.gpus},
        "launcher": file_sha256(launcher),
        "locks": [inputs.lock_digest(lock) for lock in ("freeze", "runtime")],
        "python": [way.name, way.facts],
        "freezing": file_sha256(Path(freezing.__file__)),
        "files": {name: file_sha256(path) for name, path in freezing.own_files().items()},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _make(folder: Path, libraries: Native, launcher: Path, way: Freezer, progress: ProgressMaker) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with _gone_if_stopped(folder):
        _make_in(folder, work, libraries, launcher, way, progress)
    shutil.rmtree(work)


@contextlib.contextmanager
def _gone_if_stopped(folder: Path) -> Iterator[None]:
    """Remove what an interruption leaves in a pack's folder; after a failure its log is of use."""
    try:
        yield
    except KeyboardInterrupt:
        shutil.rmtree(folder / "work", ignore_errors=True)
        if not (folder / "pack.zip").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _make_in(
    folder: Path, work: Path, libraries: Native, launcher: Path, way: Freezer, progress: ProgressMaker
) -> None:
    from solofile.builder import components, licenses

    frozen, python = way.make(work, progress)
    with ticking("Collecting the licenses", progress):
        texts = licenses.collect(frozen)
        parts = components.collect(frozen, python, texts)
    sources = [*_runtime(frozen.folder, libraries), *_kernels(libraries)]
    sources += [PackSource(f"LICENSES/{name}.txt", text) for name, text in texts.items()]
    sources.append(PackSource(components.MEMBER, parts))
    facts = PackFacts(
        target=libraries.target,
        requires=_requirement(libraries.target, sources),
        python=python,
        llama_cpp=LlamaCpp(**inputs.llama_cpp_facts()),
        kernels=libraries.kernels,
        sources=sources_digest(),
    )
    _pack(folder, facts, launcher.read_bytes(), sources, progress)
    (folder / "inputs.json").write_text(json.dumps(_stamps(frozen.system_files), indent=1) + "\n")


def _pack(
    folder: Path, facts: PackFacts, launcher: bytes, sources: Sequence[PackSource], progress: ProgressMaker
) -> None:
    with progress("Packing the runtime", len(sources), "files") as shown:
        write_pack(folder / "pack.zip", facts=facts, launcher=launcher, files=sources, on_files=shown.update)


def _add_gpus(folder: Path, without: Path, libraries: Native, progress: ProgressMaker) -> None:
    """Make a pack with GPU backends out of the one without any: the runtime need not be frozen once more."""
    folder.mkdir(parents=True, exist_ok=True)
    with Pack.open(without / "pack.zip") as plain:
        skipped = (LAUNCHER_NAME, sums_path(libraries.target))  # which every pack gets of its own
        kept = [member for path, member in plain.members.items() if path not in skipped]
        sources = [PackSource(member.path, plain.read(member.path), member.mode) for member in kept]
        sources += [PackSource(_member(libraries, gpu.path), gpu.path, 0o755) for gpu in libraries.gpus]
        sources += [PackSource(f"LICENSES/{gpu.name}-headers.txt", gpu.terms) for gpu in libraries.gpus if gpu.terms]
        facts = replace(plain.facts, gpus={gpu.name: gpu.facts for gpu in libraries.gpus})
        with _gone_if_stopped(folder):
            _pack(folder, facts, plain.read(LAUNCHER_NAME), sources, progress)
    shutil.copy2(without / "inputs.json", folder / "inputs.json")


def _runtime(frozen: Path, libraries: Native) -> Iterator[PackSource]:
    prefix = f"runtime/{libraries.target}"
    for path in sorted(path for path in frozen.rglob("*") if path.is_file()):
        mode = 0o755 if made_for(path) else 0o644
        yield PackSource(f"{prefix}/{path.relative_to(frozen).as_posix()}", path, mode)
    for path in libraries.core:
        yield PackSource(f"{prefix}/native/{path.name}", path, 0o755)


def _kernels(libraries: Native) -> Iterator[PackSource]:
    for path in (*map(libraries.kernel, libraries.kernels), libraries.rpc):
        yield PackSource(_member(libraries, path), path, 0o755)


def _member(libraries: Native, path: Path) -> str:
    return f"native/{libraries.target}/{path.name}"


def _requirement(target: str, sources: Iterable[PackSource]) -> str:
    """The oldest system that every program and library in the pack runs with, as manifests say it."""
    if not target.startswith("linux"):
        return OLDEST[target]
    paths = [source.source for source in sources if isinstance(source.source, Path) and is_elf(source.source)]
    return "glibc " + ".".join(map(str, newest_glibc(paths)))


def _stamps(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Size and time of the last change of each file, or nothing for one that is not there."""
    stamps = {}
    for path in sorted(paths):
        try:
            stat = path.stat()
        except OSError:
            continue
        stamps[str(path)] = [stat.st_size, stat.st_mtime_ns]
    return stamps


def _is_current(folder: Path) -> bool:
    try:
        known = json.loads((folder / "inputs.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return (folder / "pack.zip").is_file() and known == _stamps(map(Path, known))


def _say_waiting() -> None:
    _note("Waiting for another build of the pack to end.")


def _note(text: str) -> None:
    Progress("pack", None).note(text)
