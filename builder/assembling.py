"""Assembles a runtime for a target out of a relocatable CPython, the modules that it uses, and what starts it.

    solofile-runtime[.exe]     starts it: compiled for it, or the program that holds Python
    libstart.so | libpython…   what the starter and Python need beside the program
    lib/python.zip             the modules that are written in Python, compiled, not compressed (the pack is)
    lib/…                      extension modules and the libraries that they load
    lib/solofile/webui/        the page

The result needs nothing of the machine that it was made on, and the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.analysis import Used
from solofile.builder.cpython import TargetPython, module_name, running_minor
from solofile.builder.elf_names import renamed
from solofile.builder.errors import BuildError, ToolError
from solofile.builder.freezing import Frozen
from solofile.builder.libpython import base_python
from solofile.builder.machine import own_slice
from solofile.builder.starter import INSIDE, PROGRAM, Starter, build_starter
from solofile.builder.targets import Target

COMPILER = Path(__file__).parent / "freeze" / "compiling.py"
SITE = {
    "linux-x86_64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
    "linux-aarch64": ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
    "windows-x86_64": ("win_amd64",),
    "windows-aarch64": ("win_arm64",),
    "macos-x86_64": ("macosx_11_0_x86_64", "macosx_10_9_x86_64", "macosx_10_9_universal2", "macosx_11_0_universal2"),
    "macos-aarch64": ("macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_9_universal2"),
}
"""pip's names for the platforms whose wheels run on a target."""

ON_DISK = "solofile.webui"
"""The package of the page: its files are read by their paths."""

_START = f"""\
import os
import sys

os.environ["OPENSSL_CONF"] = os.devnull  # else OpenSSL reads one at a path of the machine that built it


def run():
    import solofile

    solofile.__path__.append(sys.path[1] + "/solofile")  # where {ON_DISK} lies
    sys.frozen = True
    from solofile.runtime.__main__ import run

    run()
"""
"""The module that the starter runs."""

_REPLACED = {b"libstdc++.so.6": INSIDE.encode(), b"libgcc_s.so.1": INSIDE.encode()}
"""Libraries that the program which holds Python is linked with, for nothing that it does here; ours replaces them."""


def assemble(target: Target, python: TargetPython, used: Used, work: Path) -> Frozen:
    """Assemble the runtime in a folder inside ``work``. Raises BuildError, ToolError."""
    if python.minor != running_minor():
        raise BuildError(f"CPython {python.version} cannot load modules that are compiled by {running_minor()}.")
    folder = work / "assembled"
    library = folder / "lib"
    library.mkdir(parents=True)
    _write_program(target, python, folder)
    extensions = _extensions(target, python, used)
    for name, path in extensions:
        _write(library / name, own_slice(path.read_bytes(), target.name))
    for name, data in needed_libraries(python, [path.read_bytes() for _, path in extensions]):
        _write(library / name, own_slice(data, target.name))
    (library / "python.zip").write_bytes(_modules(python, used, work))
    for name, path in used.page:
        _write(library / name, path.read_bytes())
    _write(library.joinpath(*ON_DISK.split("."), "__init__.py"), b"")
    return Frozen(folder, terms=python.terms, borrowed=python.borrowed)


def _write_program(target: Target, python: TargetPython, folder: Path) -> None:
    core = python.holder or python.library
    assert core is not None
    starter = build_starter(Starter(target.name, target.triple, python.library.name if python.library else None))
    if python.holder:
        _write(folder / PROGRAM, renamed(core.read_bytes(), _REPLACED), 0o755)
    else:
        place = folder / "lib" if target.system_name == "Linux" else folder
        _write(place / core.name, own_slice(core.read_bytes(), target.name))
    _write(folder / starter.name, starter.read_bytes(), 0o755)
    for name, data in python.beside_program.items():
        _write(folder / name, data)


def _extensions(target: Target, python: TargetPython, used: Used) -> list[tuple[str, Path]]:
    """The files of the extension modules that are used, with their paths in ``lib``."""
    found = [
        (python.extensions[name].name, python.extensions[name]) for name in used.compiled & python.extensions.keys()
    ]
    wanted = sorted(name for name in used.compiled if "." in name)
    site = inputs.target_site("runtime", SITE[target.name], python.minor) if wanted else None
    for name in wanted:
        *parts, last = name.split(".")
        assert site is not None
        for path in sorted(site.joinpath(*parts).glob(f"{last}.*")):
            if module_name(path.name) == last:
                found.append(("/".join((*parts, path.name)), path))
    return sorted(found)


def needed_libraries(python: TargetPython, users: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Those of the CPython's libraries whose names occur in what is taken: in the users, or in one another."""
    left, taken = dict(python.libraries), list(users)
    while taken:
        data = taken.pop().lower()
        for name in sorted(name for name in left if name.lower().encode() in data):
            taken.append(left[name])
            yield name, left.pop(name)


def _modules(python: TargetPython, used: Used, work: Path) -> bytes:
    """``python.zip``."""
    start = work / "solofile_start.py"
    start.write_text(_START)
    modules = [[name, name in used.packages, _source(python, name, path)] for name, path in used.pure.items()]
    listed = [*(one for one in modules if one[0] != ON_DISK), [start.stem, False, str(start)]]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [str(base_python()), "-s", "-S", "-B", "-X", "utf8", str(COMPILER)]
    for name in [name for name in environment if name.startswith("PYTHON") and name != "PYTHONHASHSEED"]:
        del environment[name]
    done = subprocess.run(command, input=json.dumps(listed).encode(), capture_output=True, env=environment, check=False)
    if done.returncode:
        raise ToolError(f"The runtime's modules could not be compiled: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _source(python: TargetPython, name: str, path: Path | None) -> str | None:
    """The file to compile a module from: the CPython's own where it has the standard library with it."""
    if path is None or python.standard is None:
        return str(path) if path else None
    plain = python.standard.joinpath(*name.split("."))
    for own in (plain / "__init__.py", plain.with_suffix(".py")):
        if own.is_file():
            return str(own)
    return str(path)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
