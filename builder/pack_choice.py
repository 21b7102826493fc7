"""Which packs a build takes: one for each target, or those that were given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from solofile.builder.build import BuildRequest
from solofile.builder.carried import find_carried
from solofile.builder.errors import BadInput
from solofile.builder.pack_store import check_release, opened
from solofile.builder.packfile import Pack
from solofile.builder.targets import TARGETS, find_gpus, find_target
from solofile.runtime.errors import UnknownName

UNIVERSAL = "universal"

FETCHED = frozenset({"linux-aarch64", "linux-x86_64", "macos-aarch64", "macos-x86_64", "windows-x86_64"})
"""The targets whose CPython is on the package index (cpython_wheels.py)."""


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """Targets as given, each a name or several with commas, in the order of a bundle. Raises UnknownName.

    ``universal`` are all whose CPython can be fetched: the packs of others take an archive (cpython_archive.py).
    """
    words = [word.strip() for name in names for word in name.split(",") if word.strip()]
    found: set[str] = set()
    for word in words:
        if word not in (*TARGETS, UNIVERSAL):
            raise UnknownName("target", word, sorted({*TARGETS, UNIVERSAL}))
        found |= TARGETS.keys() & FETCHED if word == UNIVERSAL else {word}
    return tuple(sorted(found))


def share(target: str, targets: Sequence[str], kind: str, wanted: str) -> str:
    """What of a list of kernels or GPU backends (``kind``) is for ``target``, of a file for all of ``targets``.

    A name that none of them has is left in for the one that looks for it, to be refused.
    """
    if len(targets) < 2 or wanted in ("all", "host", "none"):
        return wanted
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    known = {other: getattr(TARGETS[other], kind) for other in targets if other in TARGETS}
    return ",".join(name for name in names if name in known[target] or not any(name in mine for mine in known.values()))


def find_packs(wanted: BuildRequest, given: Path | None) -> list[Pack]:
    """The open packs for what is asked for; ``given`` is one that was named. Raises InputError, BuildError."""
    targets = expanded(wanted.targets)
    if given is not None:
        return [_checked(given, targets, wanted)]
    with contextlib.ExitStack() as stack:
        packs = [stack.enter_context(_pack(target, targets, wanted)) for target in targets or (None,)]
        stack.pop_all()
    return packs


def _pack(target: str | None, targets: Sequence[str], wanted: BuildRequest) -> Pack:
    """The pack for one of the targets, None for this machine's: out of this executable, if solofile is one."""
    kernels, gpus = wanted.kernels, wanted.gpu
    if target is not None:
        kernels, gpus = share(target, targets, "kernels", kernels), share(target, targets, "gpus", gpus) or "none"
    carried = find_carried(target, kernels=kernels, gpus=gpus, backends=wanted.backends)
    if carried is not None:
        return carried
    from solofile.builder.pack import find_or_build

    return find_or_build(target, kernels=kernels, gpus=gpus, backends=wanted.backends)


def _checked(path: Path, targets: Sequence[str], wanted: BuildRequest) -> Pack:
    with contextlib.ExitStack() as stack:
        pack = stack.enter_context(opened(path))
        check_release(pack)
        _check(pack, targets, wanted)
        stack.pop_all()
    return pack


def _check(pack: Pack, targets: Sequence[str], wanted: BuildRequest) -> None:
    """A pack that was given has to be what else was asked for: nothing is added to it."""
    facts = pack.facts
    if targets and targets != (facts.target,):
        raise BadInput(
            f"The pack {pack.path} is for {facts.target} and not for {', '.join(targets)}: give another --pack."
        )
    if wanted.backends:
        raise BadInput("--backend does not go with --pack: give it to “solofile pack build”, which makes the pack.")
    for name in find_gpus(find_target(facts.target), wanted.gpu):
        if name not in facts.gpus:
            remedy = "make one that does by “solofile pack build”, or build without --pack"
            raise BadInput(f"The pack {pack.path} holds no GPU backend {name}: {remedy}.")
