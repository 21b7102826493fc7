"""CPython for a target out of wheels on the package index, pinned in ``locks/cpython-<target>.txt``.

The wheels of panda3d, which makes programs for systems other than its own, carry CPython's own redistributable files
(``deploy_libs/``). For Linux they are built on CentOS 7, so they need glibc 2.17 and nothing else; there Python itself
is no library but part of a program (``deploy-stub``), see runtime/starter/inside.c. What the wheels leave to the
system, OpenSSL above all, is borrowed from other wheels built the same way: single files, under their plain names.
"""

from __future__ import annotations

import fnmatch
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.cpython import TargetPython, check_machine, digest, module_name, running_minor
from solofile.builder.elf_names import renamed
from solofile.builder.errors import ToolError
from solofile.builder.paths import build_cache, cache_folder, locked, made_at
from solofile.builder.progress import Progress

MINOR = "3.11"
TERMS = Path(__file__).parent / "terms"
RELEASE = re.compile(rb"\x00(3\.11\.\d+)\x00")


@dataclass(frozen=True)
class Borrowed:
    """A shared library that another project's wheel carries, and the name under which it is looked for.

    ``python`` is the release that the wheel is for, ``component`` the library's own name: ``terms/<component>.txt``.
    """

    project: str
    pattern: str
    name: str
    component: str
    python: str = MINOR


@dataclass(frozen=True)
class Wheels:
    """Where a target's CPython comes from: the lock, pip's names for the platform, and what is borrowed."""

    lock: str
    platforms: tuple[str, ...]
    borrowed: tuple[Borrowed, ...] = ()
    holder: bool = False
    """Python is part of the program ``deploy-stub`` instead of a library."""


_OPENSSL = (
    Borrowed("psycopg2-binary", "psycopg2_binary.libs/libcrypto-*.so.3", "libcrypto.so.3", "openssl"),
    Borrowed("psycopg2-binary", "psycopg2_binary.libs/libssl-*.so.3", "libssl.so.3", "openssl"),
)

WHEELS = {
    "linux-x86_64": Wheels("cpython-linux-x86_64", ("manylinux2014_x86_64",), _OPENSSL, holder=True),
    "linux-aarch64": Wheels(
        "cpython-linux-aarch64",
        # The one of the later date is needed for zlib alone, which asks for nothing newer than glibc 2.17 even so.
        ("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
        (
            *_OPENSSL,
            Borrowed("cffi", "cffi.libs/libffi-*.so.6*", "libffi.so.6", "libffi", python="3.8"),
            Borrowed("cmeel-zlib", "cmeel.prefix/lib64/libz.so.1", "libz.so.1", "zlib"),
        ),
        holder=True,
    ),
    "windows-x86_64": Wheels("cpython-windows-x86_64", ("win_amd64",)),
    "macos-x86_64": Wheels("cpython-macos", ("macosx_11_0_universal2",)),
    "macos-aarch64": Wheels("cpython-macos", ("macosx_11_0_universal2",)),
}

_PYTHON_LIBRARIES = ("python311.dll", "libpython3.11.dylib")
_BESIDE_PROGRAM = ("VCRUNTIME140*.dll", "api-ms-win-*.dll", "ucrtbase.dll")
"""What Windows looks for beside the program and not beside the extension modules."""


def available(target: str) -> bool:
    """Whether there is such a source for a target, for the Python that we run in."""
    return target in WHEELS and running_minor() == MINOR


def wheels_key(target: str) -> str:
    """Stands for what ``from_wheels`` returns; nothing is fetched."""
    return digest([inputs.lock_digest(WHEELS[target].lock), repr(WHEELS[target])], _own_files())


def from_wheels(target: str) -> TargetPython:
    """The CPython for ``target``, fetched into the build cache unless it is there. Raises ToolError."""
    wheels, key = WHEELS[target], wheels_key(target)
    folder = build_cache() / "tools" / f"{wheels.lock}-{key}"
    if not folder.is_dir():
        with locked(cache_folder("tools") / f"{folder.name}.lock"):
            if not folder.is_dir():
                Progress("CPython", None).note(f"Fetching CPython {MINOR} for {target}")
                with made_at(folder) as made:
                    _fetch(wheels, made)
    return _described(target, wheels, folder, key)


def _own_files() -> list[Path]:
    return [Path(__file__), *sorted(TERMS.glob("*.txt"))]


def _fetch(wheels: Wheels, folder: Path) -> None:
    """Lay out ``python/`` (panda3d's files), ``borrowed/`` (libraries under their plain names) and ``terms/``."""
    terms = folder / "terms"
    terms.mkdir()
    with inputs.fetched_wheel(wheels.lock, "panda3d", wheels.platforms, MINOR) as wheel, zipfile.ZipFile(wheel) as file:
        for name in file.namelist():
            if name.startswith("deploy_libs/") or (name == "panda3d_tools/deploy-stub" and wheels.holder):
                _write(folder / "python" / Path(name).name, file.read(name))
        _write(terms / "panda3d.txt", _license(file))
    for project in dict.fromkeys(library.project for library in wheels.borrowed):
        mine = [library for library in wheels.borrowed if library.project == project]
        python = mine[0].python
        with (
            inputs.fetched_wheel(wheels.lock, project, wheels.platforms, python) as wheel,
            zipfile.ZipFile(wheel) as file,
        ):
            for library, data in _plainly_named(file, mine):
                _write(folder / "borrowed" / library.name, data)
    for component in {library.component for library in wheels.borrowed} | (
        {"zlib", "libffi"} if wheels.holder else set()
    ):
        _write(terms / f"{component}.txt", (TERMS / f"{component}.txt").read_bytes())


def _plainly_named(wheel: zipfile.ZipFile, libraries: list[Borrowed]) -> Iterator[tuple[Borrowed, bytes]]:
    """Each library; wheels give them names with a hash, by which they also ask for one another."""
    members = {library: _only(wheel, library.pattern) for library in libraries}
    names = {Path(member).name.encode(): library.name.encode() for library, member in members.items()}
    for library, member in members.items():
        yield library, renamed(wheel.read(member), names)


def _only(wheel: zipfile.ZipFile, pattern: str) -> str:
    found = fnmatch.filter(wheel.namelist(), pattern)
    if len(found) != 1:
        raise ToolError(f"The wheel {wheel.filename} does not hold the one {pattern} that was expected of it.")
    return found[0]


def _license(wheel: zipfile.ZipFile) -> bytes:
    return wheel.read(next(name for name in wheel.namelist() if ".dist-info/" in name and "LICENSE" in name))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _described(target: str, wheels: Wheels, folder: Path, key: str) -> TargetPython:
    files = {path.name: path for path in sorted((folder / "python").iterdir())}
    holder = files.get("deploy-stub") if wheels.holder else None
    library = next((files[name] for name in _PYTHON_LIBRARIES if name in files), None)
    core = holder or library
    if core is None:
        raise ToolError(f"The wheel for {target} holds no Python: remove {folder}.")
    check_machine(core, target, "The wheel of panda3d")
    extensions = {name: path for file, path in files.items() if (name := module_name(file))}
    others = [path for path in files.values() if path not in (core, *extensions.values()) and path.suffix != ".py"]
    beside = {path.name: path.read_bytes() for path in others if _fits(path.name, _BESIDE_PROGRAM)}
    libraries = {path.name: path.read_bytes() for path in others if path.name not in beside}
    borrowed = folder / "borrowed"
    libraries |= {library.name: (borrowed / library.name).read_bytes() for library in wheels.borrowed}
    found = RELEASE.search(core.read_bytes())
    return TargetPython(
        target=target,
        version=found[1].decode() if found else MINOR,
        extensions=extensions,
        libraries=libraries,
        terms={path.stem: path.read_bytes() for path in sorted((folder / "terms").iterdir())},
        key=key,
        holder=holder,
        library=library,
        beside_program=beside,
        borrowed=tuple(_facts(wheels)),
    )


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name.lower(), pattern.lower()) for pattern in patterns)


def _facts(wheels: Wheels) -> Iterator[Mapping[str, str]]:
    """Facts for the bill of materials: the wheels that files were taken from."""
    taken = {"panda3d": "CPython"} | {library.project: library.component for library in wheels.borrowed}
    for project, what in taken.items():
        pin = inputs.pins(wheels.lock)[project]
        yield {"project": project, "version": pin.version, "taken": what, "lock": wheels.lock}
