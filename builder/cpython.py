"""A relocatable CPython for a target, from one of two sources, as assembling.py takes it.

- The wheels of panda3d on the package index carry CPython's own redistributable files (cpython_wheels.py).
- An ``install_only`` archive of python-build-standalone, by path or URL (cpython_archive.py), is the complete
  alternative, and the only source for windows-aarch64.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from solofile.builder.errors import BadInput
from solofile.builder.machine import made_for

_SUFFIX = re.compile(r"(\.cpython-\d+[^.]*|\.abi3|\.cp\d+-[^.]*)?\.(so|pyd)$")


@dataclass(frozen=True)
class TargetPython:
    """A CPython for ``target``; nothing of it is installed anywhere.

    ``holder`` is a program that holds Python and exports its names, ``library`` Python as a shared library: one of them
    is there. ``extensions`` are the extension modules by name; ``libraries`` by file name what they and Python load, to
    lie beside the extensions (beside the program where Python itself needs it: ``beside_program``).
    ``standard`` holds the modules of the standard library, None where the source has none: then they are this
    Python's. ``terms`` are license texts by component, ``borrowed`` the wheels that files are from (``project``,
    ``version``, ``taken``, ``lock``), for the bill of materials.
    """

    target: str
    version: str
    extensions: Mapping[str, Path]
    libraries: Mapping[str, bytes]
    terms: Mapping[str, bytes]
    key: str
    holder: Path | None = None
    library: Path | None = None
    beside_program: Mapping[str, bytes] = field(default_factory=dict)
    standard: Path | None = None
    borrowed: tuple[Mapping[str, str], ...] = ()

    @property
    def minor(self) -> str:
        """Such as ``3.11``: what compiled modules are for."""
        return ".".join(self.version.split(".")[:2])


def module_name(file: str) -> str | None:
    """The module that an extension's file is: ``_ssl`` for ``_ssl.cpython-311-x86_64-linux-gnu.so``; else None."""
    match = _SUFFIX.search(file)
    return file[: match.start()] if match and not file.startswith("lib") else None


def running_minor() -> str:
    """The release of the Python that we run in, such as ``3.11``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def check_machine(path: Path, target: str, source: str) -> None:
    """Refuse a file that is for another machine. Raises BadInput."""
    found = made_for(path)
    if target not in found:
        kind = " and ".join(found) or "no machine that is known"
        raise BadInput(f"{source} is for {kind} ({path.name}) and not for {target}: give the one for {target}.")


def digest(facts: object, files: Iterable[Path] = ()) -> str:
    """Stands for facts and the contents of files, as 16 hex digits."""
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256(json.dumps([facts, sums], sort_keys=True).encode()).hexdigest()[:16]
