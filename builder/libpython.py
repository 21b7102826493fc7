"""Finds the shared libpython of the running Python, which a frozen program needs, and fetches it where there is none.

Debian and Ubuntu link their ``python3`` statically and have the library in a package of its own, ``libpython3.x``, that
nothing installs by default. apt downloads a package without being root, checked against the distribution's signatures;
unpacking it into the build cache is all that a freeze needs, so nobody has to install it.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from solofile.builder import apt
from solofile.builder.elf import read_needs
from solofile.builder.errors import ToolError
from solofile.builder.paths import cache_folder, locked, made_at
from solofile.builder.progress import ticking

NAME = f"libpython{sys.version_info.major}.{sys.version_info.minor}"


def base_python() -> Path:
    """The Python that the virtual environment we run in was made from, or the one we run in."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def find_library(freezer: Path) -> Path | None:
    """The shared libpython where PyInstaller itself finds it, or None. ``freezer`` holds PyInstaller."""
    question = "from PyInstaller.depend import bindepend; print(bindepend.get_python_library_path())"
    environment = {**os.environ, "PYTHONPATH": str(freezer)}
    found = apt.run([str(base_python()), "-S", "-c", question], environment)
    return Path(found.splitlines()[-1]) if found else None


def library_origin() -> str:
    """Where the library would come from, in a few words; nothing is fetched. Raises ToolError if from nowhere."""
    if NAME + ".so" in "".join(read_needs(base_python().resolve()).libraries):
        return "part of this Python"
    folders = (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib", sysconfig.get_config_var("LIBPL"))
    for path in (Path(folder, f"{NAME}.so.1.0") for folder in folders if folder):
        if path.is_file():
            return str(path)
    return f"from the package {NAME} {_fetchable_version()}, without installing it"


def fetch_library() -> Path:
    """The shared libpython out of the distribution's package, fetched by apt into the build cache. Raises ToolError."""
    name, version = NAME, _fetchable_version()
    folder = cache_folder("tools") / f"{name}-{version.replace(':', '+')}"
    if not folder.is_dir():
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                with ticking(f"Fetching {name} {version}, since {base_python()} is linked statically"):
                    _fetch(name, version, folder)
    return folder / f"{name}.so.1.0"


def _fetchable_version() -> str:
    version = _package_version(NAME)
    if version is None or not apt.available():
        raise ToolError(
            f"{base_python()} has no shared library ({NAME}.so), which a bundle needs: use a Python that has one, "
            "such as the system's, or one configured with --enable-shared."
        )
    return version


def _package_version(name: str) -> str | None:
    """The version of the package that our Python is from, None if it is from none."""
    if not shutil.which("dpkg-query"):
        return None
    owner = apt.run(["dpkg-query", "--search", str(base_python().resolve())])
    package = owner.split(": ")[0] if owner else ""
    if not package.startswith(name.removeprefix("lib")):
        return None
    return apt.run(["dpkg-query", "--show", "--showformat=${Version}", package])


def _fetch(name: str, version: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as work, made_at(folder) as made:
        package = _download(name, version, Path(work))
        unpacked = Path(work, "unpacked")
        if not apt.unpack(package, unpacked):
            raise ToolError(f"{package.name} could not be unpacked: install {name}, and run the command again.")
        library = next(path for path in unpacked.rglob(f"{name}.so.1.0") if not path.is_symlink())
        shutil.copy2(library, made / library.name)


def _download(name: str, version: str, work: Path) -> Path:
    """Have apt fetch the package; first by the system's lists, then by new ones of our own, and last a newer build.

    The lists are often empty (container images) or old. Another build of the same Python release fits as well.
    """
    for own_lists in (False, True):
        options = apt.options(work, own_lists)
        if own_lists:
            apt.run(["apt-get", *options, "update"])
        for wanted in (f"{name}={version}", name):
            apt.run(["apt-get", *options, "download", wanted], folder=work)
            for package in _packages(work, version):
                return package
    raise ToolError(
        f"apt could not fetch {name} {version}, the shared library of {base_python()}: see whether “apt-get download "
        f"{name}” works, or install it."
    )


def _packages(work: Path, version: str) -> Iterator[Path]:
    """Downloaded packages of the same Python release as ``version``; others are removed."""
    for package in work.glob("*.deb"):
        found = apt.run(["dpkg-deb", "--field", str(package), "Version"]) or ""
        if found.partition("-")[0] == version.partition("-")[0]:
            yield package
        else:
            package.unlink()
