"""Makes packs: the frozen runtime of a target with its native libraries, launcher and licenses, in one file.

<build cache>/packs/<key>/
    pack.zip        see packfile.py
    inputs.json     the files of the system that went in: the pack is made anew when one of them has changed
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from solofile.builder import freezing, inputs, native
from solofile.builder.elf import is_elf, newest_glibc
from solofile.builder.errors import BuildError
from solofile.builder.hashing import file_sha256
from solofile.builder.launcher import build_launcher
from solofile.builder.libpython import base_python
from solofile.builder.native import Native
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.paths import build_cache, cache_folder, keep_newest, locked, mark_used
from solofile.builder.progress import Progress
from solofile.builder.targets import find_target
from solofile.builder.tools import ProgressMaker
from solofile.runtime.hardware import target as host_target
from solofile.runtime.manifest import LlamaCpp

FORMAT = 1


def find_or_build(target: str | None = None, *, kernels: str = "all", progress: ProgressMaker = Progress) -> Pack:
    """The pack for ``target`` with these kernels, made first if the cache does not hold it.

    ``kernels`` is ``all``, ``host`` or names with commas. Raises UnknownName, BuildError.
    """
    name = find_target(target).name
    if name != host_target():
        raise BuildError(f"A pack for {name} can only be made on such a machine: this one is {host_target()}.")
    libraries = native.build(name, kernels=kernels, progress=progress)
    launcher = build_launcher(name)
    folder = build_cache() / "packs" / pack_key(libraries, launcher)
    if not _is_current(folder):
        with locked(cache_folder("packs") / f"{folder.name}.lock", waiting=_say_waiting):
            if not _is_current(folder):
                _make(folder, libraries, launcher, progress)
    mark_used(folder)
    return Pack.open(folder / "pack.zip")


def pack_key(libraries: Native, launcher: Path) -> str:
    """The hash of everything that goes into a pack but the system's files, as 16 hex digits."""
    facts = {
        "format": FORMAT,
        "native": [libraries.key, *libraries.kernels],
        "launcher": file_sha256(launcher),
        "locks": [inputs.lock_digest(lock) for lock in ("freeze", "runtime")],
        "python": [sys.version, str(base_python().resolve())],
        "spec": [file_sha256(Path(file)) for file in (freezing.SPEC, freezing.__file__)],
        "files": {name: file_sha256(path) for name, path in freezing.own_files().items()},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _make(folder: Path, libraries: Native, launcher: Path, progress: ProgressMaker) -> None:
    from solofile.builder import licenses

    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    frozen = freezing.freeze(work, progress)
    texts = licenses.collect(frozen.system_files)
    sources = [*_runtime(frozen.folder, libraries), *_kernels(libraries)]
    sources += [PackSource(f"LICENSES/{name}.txt", text) for name, text in texts.items()]
    facts = PackFacts(
        target=libraries.target,
        requires=_requirement(sources),
        python=".".join(map(str, sys.version_info[:3])),
        llama_cpp=LlamaCpp(**inputs.llama_cpp_facts()),
        kernels=libraries.kernels,
    )
    write_pack(folder / "pack.zip", facts=facts, launcher=launcher.read_bytes(), files=sources)
    (folder / "inputs.json").write_text(json.dumps(_stamps(frozen.system_files), indent=1) + "\n")
    shutil.rmtree(work)
    keep_newest(folder.parent)


def _runtime(frozen: Path, libraries: Native) -> Iterator[PackSource]:
    prefix = f"runtime/{libraries.target}"
    for path in sorted(path for path in frozen.rglob("*") if path.is_file()):
        mode = 0o755 if is_elf(path) else 0o644
        yield PackSource(f"{prefix}/{path.relative_to(frozen).as_posix()}", path, mode)
    for path in libraries.core:
        yield PackSource(f"{prefix}/native/{path.name}", path, 0o755)


def _kernels(libraries: Native) -> Iterator[PackSource]:
    for name in libraries.kernels:
        path = libraries.kernel(name)
        yield PackSource(f"native/{libraries.target}/{path.name}", path, 0o755)


def _requirement(sources: Iterable[PackSource]) -> str:
    """The oldest glibc that every program and library in the pack runs with, as manifests say it."""
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
    Progress("pack", None).note("Waiting for another build of the pack to end.")
