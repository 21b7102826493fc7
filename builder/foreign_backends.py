"""GPU backends for Windows and macOS, built elsewhere: what their files say, since they cannot be tried here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.errors import BadInput
from solofile.builder.gpu import OLDEST_WINDOWS
from solofile.builder.mach import MachError, read_mach
from solofile.builder.machine import header_targets, own_slice
from solofile.builder.native import Native, core_files
from solofile.builder.pe import PeError, read_exported, read_imported, system_has
from solofile.runtime.library_names import library_name
from solofile.runtime.manifest import Gpu

_APPLES = ("/usr/lib/", "/System/Library/")
_PLACE = "@rpath/"
_GGML = re.compile(r"(?:lib)?ggml[a-z0-9_-]*\.")


@dataclass(frozen=True)
class Foreign:
    """A backend: ``undefined`` are the symbols that it looks for elsewhere, ``facts`` what the manifest says."""

    defined: frozenset[str]
    undefined: frozenset[str]
    facts: Gpu


def read_foreign(path: Path, target: str) -> Foreign:
    """Read a backend for ``target``. Raises BadInput for what no bundle can use there."""
    data = path.read_bytes()
    found = header_targets(data[:4096])
    if target not in found:
        kind = " and ".join(found) or "no system that is known"
        raise BadInput(f"The GPU backend {path} is for {kind}: build it for {target}.")
    try:
        return _of_windows(path) if target.startswith("windows") else _of_macos(path, own_slice(data, target), target)
    except (PeError, MachError) as error:
        raise BadInput(f"The GPU backend {path} cannot be used ({error}): build it for {target}.") from error


def foreign_symbols(libraries: Native) -> frozenset[str]:
    """What the ggml of a bundle offers to backends, by the files of the bundle's own libraries."""
    paths = [libraries.folder / name for name in core_files(libraries.target) if library_name(name) != "llama"]
    if libraries.target.startswith("windows"):
        return frozenset(name for path in paths for name in read_exported(path))
    return frozenset(name for path in paths for name in read_mach(path.read_bytes()).defined)


def _of_windows(path: Path) -> Foreign:
    imported = read_imported(path)
    own = {name for name in imported if _GGML.match(name.lower())}
    _refuse_strangers(path, own, {"ggml-base.dll", "ggml.dll"})
    needs = sorted(name for name in imported if name not in own and not system_has(name))
    undefined = frozenset(symbol for name in own for symbol in imported[name])
    return Foreign(frozenset(read_exported(path)), undefined, Gpu(OLDEST_WINDOWS, tuple(needs), ()))


def _of_macos(path: Path, data: bytes, target: str) -> Foreign:
    library = read_mach(data)
    own = {name for name in library.needs if _GGML.match(name.rpartition("/")[2])}
    _refuse_strangers(path, own, {f"{_PLACE}libggml-base.dylib", f"{_PLACE}libggml.dylib"})
    needs = sorted(name for name in library.needs if name not in own and not name.startswith(_APPLES))
    strangers = [name for name in needs if "/" in name and not name.startswith(_PLACE)]
    if strangers:
        raise BadInput(f"The GPU backend {path} needs {strangers[0]}, a file of the machine that built it.")
    major, minor = max(library.oldest, (12, 0) if target.endswith("aarch64") else (11, 0))
    oldest = f"macOS {major}.{minor}" if minor else f"macOS {major}"
    return Foreign(library.defined, library.undefined, Gpu(oldest, tuple(needs), ()))


def _refuse_strangers(path: Path, asked: set[str], offered: set[str]) -> None:
    """Of ggml a bundle has two libraries, and by these very names."""
    strangers = sorted(asked - offered)
    if strangers:
        names = " and ".join(sorted(offered))
        raise BadInput(f"The GPU backend {path} needs {strangers[0]}, which no bundle has: link it with {names}.")
