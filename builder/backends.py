"""GPU backends that somebody built elsewhere, from the same llama.cpp: checked, and made fit for a bundle.

    <build cache>/gpus/given-<SHA-256 of the file>/libggml-<name>.so      (.dylib, or ggml-<name>.dll)

What cannot work is refused here, in one sentence, and not on the machine of whoever gets the bundle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.backend_trial import Trial, try_to_load
from solofile.builder.elf import MACHINES, ElfError, Interface, read_interface, read_needs
from solofile.builder.errors import BadInput
from solofile.builder.foreign_backends import foreign_symbols, read_foreign
from solofile.builder.gpu import GpuLibrary, gpu_file, needs_of
from solofile.builder.hashing import file_sha256
from solofile.builder.native import Native
from solofile.builder.paths import build_cache, made_at, mark_used
from solofile.builder.relinking import relinked
from solofile.builder.targets import find_target

ENTRY = "ggml_backend_init"
OWN = {"libggml-base.so", "libggml.so"}
"""The ggml libraries of a bundle that a backend may ask for."""


def backend_name(path: Path) -> str:
    """The backend's name by its file's: ``cuda`` for libggml-cuda.so, ggml-cuda.dll. Raises BadInput."""
    match = re.fullmatch(r"libggml-([a-z][a-z0-9_]*)\.(?:so|dylib)|ggml-([a-z][a-z0-9_]*)\.dll", path.name)
    name = match[1] or match[2] if match else ""
    if name in ("", "base", "cpu"):
        raise BadInput(f"{path} is not named like a GPU backend: it has to be libggml-<name>.so, as ggml builds it.")
    return name


def given_backends(paths: Iterable[Path], libraries: Native, say: Callable[[str], None]) -> list[GpuLibrary]:
    """The backends at ``paths``, each checked against ``libraries``. Raises BadInput for what cannot be used."""
    found: dict[str, GpuLibrary] = {gpu.name: gpu for gpu in libraries.gpus}
    given = []
    for path in paths:
        name = backend_name(path)
        if name in found:
            raise BadInput(f"The GPU backend {name} is given twice ({found[name].path} and {path}): leave one out.")
        found[name] = _given(path, name, libraries, say)
        given.append(found[name])
    return given


def _given(path: Path, name: str, libraries: Native, say: Callable[[str], None]) -> GpuLibrary:
    if not path.is_file():
        raise BadInput(f"The GPU backend {path} is not there: give the path of a libggml-<name>.so.")
    if not libraries.target.startswith("linux"):
        library = read_foreign(path, libraries.target)
        _check_symbols(path, library.defined, library.undefined - foreign_symbols(libraries))
        say(f"{path.name} was not tried here (it is for {libraries.target}); its symbols fit.")
        copy = _copy(path, gpu_file(name, libraries.target), path.read_bytes())
        return GpuLibrary(name, copy, file_sha256(copy), library.facts)
    try:
        _check_interface(path, read_interface(path), find_target(libraries.target).processor, libraries)
        copy = _copy(path, gpu_file(name, libraries.target), relinked(path))
        _check_trial(path, try_to_load(copy, libraries.folder), say)
        return GpuLibrary(name, copy, file_sha256(copy), needs_of(copy))
    except ElfError as error:
        raise BadInput(f"The GPU backend cannot be used: {error}: build it for {libraries.target}.") from error


def _check_interface(path: Path, interface: Interface, processor: str, libraries: Native) -> None:
    """What can be seen without loading it."""
    if interface.machine != MACHINES[processor]:
        names = {number: name for name, number in MACHINES.items()}
        found = names.get(interface.machine, f"machine {interface.machine}")
        raise BadInput(f"The GPU backend {path} is for {found}: build it for {processor}.")
    asked = {re.sub(r"\.so\.[0-9.]+$", ".so", name) for name in read_needs(path).libraries}
    foreign = sorted(name for name in asked if name.startswith("libggml") and name not in OWN)
    if foreign:
        raise BadInput(f"The GPU backend {path} needs {foreign[0]}, which no bundle has: build it without that.")
    offered = {symbol for name in OWN & asked for symbol in read_interface(libraries.folder / name).defined}
    _check_symbols(path, interface.defined, interface.undefined - offered)


def _check_symbols(path: Path, defined: frozenset[str], missing: frozenset[str]) -> None:
    """That ggml can load it, and that of what it looks for nothing of ggml is ``missing`` in a bundle."""
    if ENTRY not in defined:
        remedy = "build it with GGML_BACKEND_DL=ON"
        raise BadInput(f"The GPU backend {path} cannot be loaded by ggml (it has no {ENTRY}): {remedy}.")
    lacking = sorted(name for name in missing if name.startswith(("ggml_", "gguf_")))
    if lacking:
        raise BadInput(
            f"The GPU backend {path} is of another ggml (it needs {_some(lacking)}): "
            f"build it from {inputs.LLAMA.requirement} (llama.cpp {inputs.LLAMA_CPP_COMMIT[:7]})."
        )


def _check_trial(path: Path, trial: Trial, say: Callable[[str], None]) -> None:
    """What only loading it tells: its version of the interface."""
    if trial.found is None:
        say(f"{path.name} was not tried here ({trial.problem}); its symbols fit.")
    elif trial.found != trial.wanted:
        raise BadInput(
            f"The GPU backend {path} has version {trial.found} of ggml's backend interface in place of {trial.wanted}: "
            f"build it from {inputs.LLAMA.requirement} (llama.cpp {inputs.LLAMA_CPP_COMMIT[:7]})."
        )


def _copy(path: Path, file: str, content: bytes) -> Path:
    folder = build_cache() / "gpus" / f"given-{file_sha256(path)[:16]}"
    if not folder.is_dir():
        with made_at(folder) as made:
            (made / file).write_bytes(content)
    mark_used(folder)
    return folder / file


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
