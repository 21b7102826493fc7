"""solofile itself as one executable: the launcher of every bundle, the frozen builder, the packs that it builds from.

The file is laid out as a bundle is (FORMAT.md), but has packs in the place of models, so it is unpacked to the cache of
the machine once and not at every start, and a pack is read from where it lies:

    launcher
    runtime/<target>/…      the frozen builder, deflated
    LICENSES/…              of what it is made of; those of a pack's contents are in the pack
    packs/<n>-<target>.zip  stored
    solofile.json           what it is; the launcher checks its digest
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from solofile.builder import freezing, inputs
from solofile.builder.archive_writer import ArchiveWriter, open_raw
from solofile.builder.carried import PREFIX
from solofile.builder.elf import is_elf
from solofile.builder.errors import BadInput
from solofile.builder.launcher import build_launcher
from solofile.builder.output import check_output, explained, replacing
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.builder.paths import cache_folder, fresh_folder
from solofile.builder.progress import Progress, ticking
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import begin
from solofile.runtime.archive import EPOCH_1980
from solofile.runtime.container import comment_of
from solofile.runtime.ending import FORMAT
from solofile.runtime.hardware import target as host_target
from solofile.runtime.manifest import MANIFEST_NAME, LlamaCpp
from solofile.runtime.version import __version__

ENTRY = "from solofile.builder.frozen import run\n\nrun()\n"

_USED = frozenset({"gguf", "numpy", "doctest", "pdb", "bdb", "pydoc", "unittest", "multiprocessing"})
"""What the runtime does without, and numpy or gguf may import."""

PROGRAM_DATA = {"builder": ("freeze", "locks"), "recipes": (".",), "runtime": ("FORMAT.md", "native", "launcher")}
"""The files beside the modules that commands read, by package."""


@dataclass(frozen=True)
class SelfBuilt:
    """A finished executable: its size and the packs in it."""

    path: Path
    size: int
    packs: int


def build_self(
    output: Path, packs: Sequence[Path], *, force: bool = False, progress: ProgressMaker = Progress
) -> SelfBuilt:
    """Write solofile with ``packs`` as one executable for this machine's target. Raises BadInput, BuildError."""
    target = host_target()
    check_output(output, force=force)
    opened = [Pack.open(path) for path in packs]
    for pack in opened:
        pack.close()
    if target not in [pack.facts.target for pack in opened]:
        raise BadInput(f"None of the packs is for {target}, where the executable will run: give one that is, too.")
    with fresh_folder(cache_folder(), "self") as work:
        program = _frozen_pack(work, target, progress)
        size = program.stat().st_size + sum(path.stat().st_size for path in packs)
        with (
            explained(output, size),
            progress(f"Writing {output.name}", size, "B") as shown,
            replacing(output, mode=0o755) as file,
            Pack.open(program) as own,
        ):
            writer, _ = begin([own], {}, EPOCH_1980, file, shown.update)
            _add_packs(writer, packs, opened, shown)
            _finish(writer, target, opened)
            shown.total = file.tell()
            shown.update(file.tell())
    return SelfBuilt(output, output.stat().st_size, len(packs))


def _frozen_pack(work: Path, target: str, progress: ProgressMaker) -> Path:
    """The frozen builder, packed as runtimes are, so that the launcher takes it for one."""
    label = "freezing the builder"
    program = freezing.Program(label, "self", _stage, _modules, _datas, _excludes())
    (work / "frozen").mkdir()
    frozen = freezing.freeze(work / "frozen", progress, program)
    with ticking("Collecting the licenses", progress):
        texts = _licenses(frozen.system_files)
    paths = sorted(path for path in frozen.folder.rglob("*") if path.is_file())
    prefix = f"runtime/{target}"
    sources = [
        PackSource(f"{prefix}/{path.relative_to(frozen.folder).as_posix()}", path, 0o755 if is_elf(path) else 0o644)
        for path in paths
    ]
    sources += [PackSource(f"LICENSES/{name}.txt", text) for name, text in texts.items()]
    facts = PackFacts(target, "", platform.python_version(), LlamaCpp(**inputs.llama_cpp_facts()), ())
    launcher = build_launcher(target).read_bytes()
    with progress("Packing the builder", len(sources), "files") as shown:
        write_pack(work / "self.zip", facts=facts, launcher=launcher, files=sources, on_files=shown.update)
    return work / "self.zip"


def _stage(app: Path) -> None:
    for name in ("builder", "recipes", "runtime"):
        freezing.copy_package(name, app)
    (app / f"{freezing.NAME}.py").write_text(ENTRY)
    for package, parts in PROGRAM_DATA.items():
        source = Path(str(files(f"solofile.{package}")))
        for path in (path for part in parts for path in _files(source / part)):
            copy = app / "data" / "solofile" / package / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _files(place: Path) -> list[Path]:
    found = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [path for path in found if path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts]


def _modules(app: Path) -> list[str]:
    return [*freezing.staged_modules(app, "solofile/builder/*.py"), "solofile.recipes", "_cffi_backend"]


def _datas(app: Path) -> list[tuple[str, str]]:
    data = app / "data"
    return sorted((path.relative_to(data).as_posix(), str(path)) for path in data.rglob("*") if path.is_file())


def _excludes() -> tuple[str, ...]:
    return tuple(name for name in freezing.EXCLUDES if name not in _USED)


def _licenses(system_files: Sequence[Path]) -> dict[str, bytes]:
    from solofile.builder import licenses

    return licenses.collect_for("self", system_files)


def _add_packs(writer: ArchiveWriter, paths: Sequence[Path], packs: Sequence[Pack], shown: Progress) -> None:
    for number, (path, pack) in enumerate(zip(paths, packs, strict=True), 1):
        start = writer.position

        def report(done: int, start: int = start) -> None:
            shown.update(start + done)

        with open_raw(path) as source:
            writer.add_file(f"{PREFIX}{number}-{pack.facts.target}.zip", source, report)


def _finish(writer: ArchiveWriter, target: str, packs: Sequence[Pack]) -> None:
    """The last member, which the launcher holds against the digest in the comment."""
    facts = {
        "format": FORMAT,
        "program": "solofile",
        "solofile": __version__,
        "target": target,
        "packs": [
            {"target": pack.facts.target, "kernels": pack.facts.kernels, "gpus": sorted(pack.facts.gpus)}
            for pack in packs
        ],
        "parts": [part._asdict() for part in writer.parts],
    }
    data = (json.dumps(facts, indent=1) + "\n").encode()
    writer.add_bytes(MANIFEST_NAME, data)
    writer.finish(lambda directory: comment_of(data, directory))
