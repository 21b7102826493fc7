"""The packs that solofile carries when it is one executable (self_build.py): found before anything is built."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from solofile.builder.archive_writer import Span
from solofile.builder.errors import MissingTool, PackError
from solofile.builder.packfile import Pack
from solofile.builder.targets import find_gpus, find_kernels, find_target
from solofile.runtime.archive import ArchiveError, parse_directory, parse_end
from solofile.runtime.ending import TAIL_SIZE

PREFIX = "packs/"
"""Where they lie in the archive of the executable."""

_VARIABLE = "SOLOFILE_BUNDLE"
"""By which the launcher tells the program the path of the executable."""


def executable() -> Path | None:
    """The executable that this solofile is, None where it runs in a Python of the user's."""
    named = os.environ.get(_VARIABLE)
    return Path(named) if named and getattr(sys, "frozen", False) else None


def carried_packs() -> list[Pack]:
    """The packs inside this executable, each opened where it lies; none where it is not one. Raises PackError."""
    path = executable()
    return [] if path is None else packs_in(path)


def packs_in(path: Path) -> list[Pack]:
    """The packs inside an executable that ``solofile self build`` has written. Raises PackError."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_SIZE))
            end = parse_end(file.read(), size)
            file.seek(end.directory_offset)
            members = parse_directory(file.read(end.directory_size), end)
    except (OSError, ArchiveError) as error:
        raise PackError(f"The packs in {path} cannot be read ({error}): copy or download it again.") from error
    spans = [Span(member.data_offset, member.size) for member in members if member.path.startswith(PREFIX)]
    return [Pack.open(path, span) for span in spans]


def find_carried(target: str | None, *, kernels: str, gpus: str, backends: Sequence[Path]) -> Pack | None:
    """The carried pack for what is asked for, as ``pack.find_or_build`` takes it; None where solofile is no executable.

    ``all`` kernels are all that it carries; a pack with more than those asked for will do. Raises MissingTool if there
    is none: nothing else can be made here.
    """
    packs = carried_packs()
    if not packs and executable() is None:
        return None
    wanted = find_target(target)
    names = () if kernels == "all" else find_kernels(wanted, kernels)
    fits = [pack for pack in packs if not backends and _fits(pack, wanted.name, names, find_gpus(wanted, gpus))]
    chosen = min(fits, key=lambda pack: len(pack.facts.kernels) * (1 if names else -1), default=None)
    for pack in packs:
        if pack is not chosen:
            pack.close()
    if chosen is None:
        has = "; ".join(described(pack) for pack in packs) or "none"
        raise MissingTool(
            f"This solofile carries no pack for {wanted.name} with what is asked for (it has {has}) and cannot make "
            "one: ask for what it has, give another pack with --pack, or run a solofile that is installed for Python."
        )
    return chosen


def _fits(pack: Pack, target: str, kernels: Sequence[str], gpus: Sequence[str]) -> bool:
    facts = pack.facts
    return facts.target == target and set(kernels) <= set(facts.kernels) and set(facts.gpus) == set(gpus)


def described(pack: Pack) -> str:
    """What a pack is for."""
    gpus = f" and {', '.join(sorted(pack.facts.gpus))}" if pack.facts.gpus else ""
    return f"{pack.facts.target}: {', '.join(pack.facts.kernels)}{gpus}"
