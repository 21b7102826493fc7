"""The two ways to make the Python part of a pack, and which one a build takes.

``assembled`` puts it together from a relocatable CPython for the target (assembling.py): for any target, anywhere.
``pyinstaller`` freezes the Python that solofile runs in (freezing.py): for this machine, where there is no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import analysis, assembling, cpython_wheels, freezing, inputs, starter
from solofile.builder.cpython import TargetPython, running_minor
from solofile.builder.cpython_archive import archive_key, from_archive
from solofile.builder.errors import BadInput
from solofile.builder.freezing import Frozen
from solofile.builder.hashing import file_sha256, folder_digests
from solofile.builder.libpython import base_python
from solofile.builder.targets import Target
from solofile.builder.tools import ProgressMaker
from solofile.runtime.errors import UnknownName
from solofile.runtime.hardware import target as host_target

ASSEMBLED, PYINSTALLER = "assembled", "pyinstaller"
NAMES = (ASSEMBLED, PYINSTALLER)


@dataclass(frozen=True)
class Freezer:
    """One way. ``facts`` stand for all that it makes a runtime of, besides our own files and the locks.

    ``make`` takes an empty folder and returns the runtime with the version of its Python.
    """

    name: str
    facts: object
    make: Callable[[Path, ProgressMaker], tuple[Frozen, str]]


def choose(target: Target, name: str | None = None, cpython: str | None = None) -> Freezer:
    """The way that is asked for, else the best there is. Raises UnknownName, BadInput."""
    if name is not None and name not in NAMES:
        raise UnknownName("freezer", name, NAMES)
    if name == PYINSTALLER and cpython:
        raise BadInput(
            "--cpython does not go with --freezer pyinstaller, which takes the Python that solofile runs in."
        )
    if cpython:
        python = from_archive(cpython, target)  # now: what is wrong with it is known before anything is compiled
        return _assembler(target, archive_key(cpython), lambda: python)
    if name != PYINSTALLER and cpython_wheels.available(target.name):
        return _assembler(
            target, cpython_wheels.wheels_key(target.name), lambda: cpython_wheels.from_wheels(target.name)
        )
    if target.name != host_target() or name == ASSEMBLED:
        raise BadInput(_no_source(target))
    return _pyinstaller()


def _no_source(target: Target) -> str:
    remedy = "give --cpython an install_only archive of python-build-standalone for it"
    if target.name in cpython_wheels.WHEELS:
        minor = cpython_wheels.MINOR
        return (
            f"The CPython for {target.name} that can be fetched is {minor}, and solofile runs in {running_minor()}: "
            f"run it in Python {minor}, or {remedy}."
        )
    return (
        f"There is no CPython for {target.name} on the package index: make a pack by “solofile pack build --target "
        f"{target.name} --cpython FILE”, where FILE is an install_only archive of python-build-standalone for it, and "
        "give that to a build as --pack."
    )


def _assembler(target: Target, key: str, find: Callable[[], TargetPython]) -> Freezer:
    def make(work: Path, progress: ProgressMaker) -> tuple[Frozen, str]:
        python = find()
        used = analysis.analyse(work, progress)
        return assembling.assemble(target, python, used, work), python.version

    code = (analysis.SPEC, assembling.COMPILER, *map(Path, (analysis.__file__, assembling.__file__, starter.__file__)))
    files = [file_sha256(path) for path in code]
    running = [sys.version, str(base_python().resolve())]  # whose standard library it is, and which compiles
    return Freezer(ASSEMBLED, [key, running, files, folder_digests(starter.sources()), _zig()], make)


def _pyinstaller() -> Freezer:
    def make(work: Path, progress: ProgressMaker) -> tuple[Frozen, str]:
        return freezing.freeze(work, progress), ".".join(map(str, sys.version_info[:3]))

    running = [sys.version, str(base_python().resolve())]
    return Freezer(PYINSTALLER, [running, file_sha256(freezing.SPEC)], make)


def _zig() -> str:
    return inputs.pins("tools")["ziglang"].version
