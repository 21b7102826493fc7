"""Packs that are there already, so that nothing need be built: imported ones, and those of installed wheels.

    <build cache>/imported/<target>.zip                       solofile pack import FILE
    solofile_packs/<target>/pack.zip in site-packages         pip install solofile-pack-<target>

Only one of this release and of the same llama.cpp is used; one that lacks a wanted kernel or GPU is passed over.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from solofile.builder import freezing, inputs
from solofile.builder.errors import BadInput, PackError
from solofile.builder.hashing import file_sha256
from solofile.builder.output import replacing
from solofile.builder.packfile import Pack
from solofile.builder.paths import build_cache, cache_folder
from solofile.builder.targets import TARGETS, Target, find_target
from solofile.runtime.version import __version__


@dataclass(frozen=True)
class Kept:
    """A pack that is there: its file, and whence: ``imported``, ``installed`` or ``built``."""

    path: Path
    origin: str


def project(target: str) -> str:
    """The name of the wheel with a target's pack."""
    return f"solofile-pack-{target}"


def member(target: str) -> str:
    """Where the pack lies in that wheel."""
    return f"solofile_packs/{target}/pack.zip"


def sources_digest() -> str:
    """Stands for our own files in a pack, as 16 hex digits."""
    digests = {name: file_sha256(path) for name, path in freezing.own_files().items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]


def find(target: Target, kernels: Iterable[str], gpus: Iterable[str], note: Callable[[str], None]) -> Pack | None:
    """A pack that is there and holds all of these; ``note`` takes why one is passed over. Raises PackError."""
    for kept in _ready(target.name):
        pack = Pack.open(kept.path)
        reason = _unfit(pack, set(kernels), set(gpus))
        if not reason:
            return pack
        pack.close()
        note(f"The {kept.origin} pack {kept.path} is passed over: {reason}.")
    return None


def import_pack(path: Path, sha256: str | None) -> Kept:
    """Take a pack into the build cache. Raises BadInput, with nothing changed."""
    if not path.is_file():
        raise BadInput(f"The pack {path} is not there: check the name.")
    found = file_sha256(path) if sha256 else sha256
    if found != sha256:
        raise BadInput(f"{path} has the SHA-256 {found} and not {sha256}: it is not the pack that was meant.")
    with opened(path) as pack:
        find_target(pack.facts.target)
        check_release(pack)
        for name in pack.members:  # each against its sum
            pack.read(name)
        target = cache_folder("imported") / f"{pack.facts.target}.zip"
    with replacing(target) as output, path.open("rb") as file:
        shutil.copyfileobj(file, output, 1 << 20)
    return Kept(target, "imported")


def opened(path: Path) -> Pack:
    """A pack that the user named. Raises BadInput."""
    try:
        return Pack.open(path)
    except PackError as error:
        raise BadInput(str(error)) from error


def check_release(pack: Pack) -> None:
    """Refuse a pack of another release or llama.cpp. Raises BadInput."""
    reason = _other_release(pack)
    if reason:
        pack.close()
        raise BadInput(f"The pack {pack.path} cannot be used: {reason}; take one that this solofile has made.")


def all_packs() -> Iterator[Kept]:
    """Every pack that is there."""
    for target in TARGETS:
        yield from _ready(target)
    yield from (Kept(path, "built") for path in sorted((build_cache() / "packs").glob("*/pack.zip")))


def _ready(target: str) -> Iterator[Kept]:
    imported = build_cache() / "imported" / f"{target}.zip"
    if imported.is_file():
        yield Kept(imported, "imported")
    try:
        installed = Path(str(distribution(project(target)).locate_file(member(target))))
    except PackageNotFoundError:
        return
    if installed.is_file():
        yield Kept(installed, "installed")


def _unfit(pack: Pack, kernels: set[str], gpus: set[str]) -> str:
    facts = pack.facts
    if facts.sources != sources_digest():
        return _other_release(pack) or "it was made from other sources than these"
    lacking = sorted(kernels - set(facts.kernels)) + sorted(gpus - set(facts.gpus))
    return _other_release(pack) or (f"it lacks {', '.join(lacking)}" if lacking else "")


def _other_release(pack: Pack) -> str:
    facts = pack.facts
    if facts.solofile != __version__:
        return f"it was made by solofile {facts.solofile}, and this is {__version__}"
    held, own = facts.llama_cpp.commit[:7], inputs.LLAMA_CPP_COMMIT[:7]
    if held != own:
        return f"it holds llama.cpp {held}, and this is {own}"
    return ""
