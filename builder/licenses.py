"""Collects the license texts of everything in a pack, as its members ``LICENSES/<component>.txt``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.errors import BuildError
from solofile.builder.freezing import Frozen

_NAMES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "AUTHORS*")


def collect(frozen: Frozen) -> dict[str, bytes]:
    """The license texts by component of a pack that holds ``frozen``."""
    texts = {"solofile": _own(), "python": _python(), **frozen.terms}
    if not frozen.terms:  # PyInstaller's own program is part of what it freezes
        texts["pyinstaller"] = _of_project(inputs.site("freeze"), "pyinstaller")
    texts |= {name: _of_project(inputs.site("runtime"), name) for name in inputs.pins("runtime")}
    texts |= _native() | page_libraries()
    texts |= _system(frozen.system_files)
    return dict(sorted(texts.items()))


def collect_for(lock: str, system_files: Iterable[Path]) -> dict[str, bytes]:
    """The license texts of a frozen program of ours without native libraries: the packages are those of ``lock``."""
    zig = inputs.tool("ziglang") / "ziglang"
    texts = {"solofile": _own(), "python": _python(), "pyinstaller": _of_project(inputs.site("freeze"), "pyinstaller")}
    texts |= {name: _of_project(inputs.site(lock), name) for name in inputs.pins(lock)}
    texts |= {"zig": (zig / "LICENSE").read_bytes()} | _system(system_files)
    return dict(sorted(texts.items()))


def _own() -> bytes:
    tree = Path(str(files("solofile.runtime"))).resolve().parent / "LICENSE"
    if tree.is_file():
        return tree.read_bytes()
    try:
        found = [path for path in distribution("solofile").files or () if path.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise BuildError("solofile's own LICENSE is not where it was installed: install solofile again.")
    return Path(str(found[0].locate())).read_bytes()


def page_libraries() -> dict[str, bytes]:
    """The libraries of the chat page; each lies in ``webui/vendor`` with its license beside it."""
    vendor = Path(str(files("solofile.webui"))) / "vendor"
    libraries = json.loads((vendor / "manifest.json").read_text("utf-8"))
    return {library["folder"]: (vendor / library["folder"] / "LICENSE").read_bytes() for library in libraries}


def _native() -> dict[str, bytes]:
    """llama.cpp, what it carries and is compiled into our library, and the libraries that zig links in."""
    source = inputs.llama_source()
    llama, zig = source / "vendor" / "llama.cpp", inputs.tool("ziglang") / "ziglang"
    texts = {
        "llama-cpp-python": (source / "LICENSE.md").read_bytes(),
        "llama.cpp": (llama / "LICENSE").read_bytes(),
        "zig": (zig / "LICENSE").read_bytes(),
    }
    for path in sorted((llama / "licenses").glob("LICENSE-*")):
        texts[path.name.removeprefix("LICENSE-")] = path.read_bytes()
    for path in sorted((llama / "vendor").rglob("LICENSE*")):
        texts[path.parent.name] = path.read_bytes()
    for path in (llama / "vendor" / "stb" / "stb_image.h", llama / "vendor" / "miniaudio" / "miniaudio.h"):
        code = path.read_text("utf-8")
        texts[path.stem] = code[code.rindex("This software is available") :].encode()
    for name in ("libcxx", "libcxxabi", "libunwind"):
        texts[name] = (zig / "lib" / name / "LICENSE.TXT").read_bytes()
    texts["musl"] = (zig / "lib" / "libc" / "musl" / "COPYRIGHT").read_bytes()
    return texts


def _python() -> bytes:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (Path(sysconfig.get_path("stdlib"), "LICENSE.txt"), Path("/usr/share/doc", name, "copyright")):
        if path.is_file():
            return path.read_bytes()
    return f"Python {sys.version}\n\n{sys.copyright}\n\nhttps://docs.python.org/3/license.html\n".encode()


def _of_project(site: Path, name: str) -> bytes:
    """The license files of an installed project, one after the other; its metadata's word if it has none."""
    folder = metadata_folder(site, name)
    paths = sorted({path for pattern in _NAMES for path in folder.rglob(pattern) if path.is_file()})
    if not paths:
        lines = (folder / "METADATA").read_text("utf-8").splitlines()
        said = [line for line in lines if line.startswith(("Name:", "Version:", "License", "Classifier: License"))]
        return ("\n".join(said) + "\n").encode()
    return b"\n\n".join(path.read_bytes() for path in paths)


def metadata_folder(site: Path, name: str) -> Path:
    """The ``dist-info`` of a project that is installed in ``site``. Raises BuildError."""
    return next(iter(site.glob(f"{name.replace('-', '?')}-*.dist-info")), None) or _any_case(site, name)


def _any_case(site: Path, name: str) -> Path:
    wanted = name.replace("-", "_").replace(".", "_").lower()
    for path in site.glob("*.dist-info"):
        if path.name.partition("-")[0].replace(".", "_").lower() == wanted:
            return path
    raise BuildError(f"{name} is not in {site}, which holds what a pack is made of: remove that folder.")


def _system(paths: Iterable[Path]) -> dict[str, bytes]:
    """The copyright files of the distribution's packages that own ``paths``; a word where there is none."""
    texts = {}
    for name, package, path in system_libraries(paths):
        copyright_file = Path("/usr/share/doc", package or "", "copyright")
        known = package is not None and copyright_file.is_file()
        texts[name] = copyright_file.read_bytes() if known else f"{path.name}: see its distribution.\n".encode()
    return texts


def system_libraries(paths: Iterable[Path]) -> Iterator[tuple[str, str | None, Path]]:
    """The libraries among ``paths`` that are not Python's own: name, the package that owns it if one does, path."""
    for path in sorted(set(paths)):
        if (path.suffix != ".so" and ".so." not in path.name) or "lib-dynload" in path.parts:
            continue  # Python's own
        package = _package(path.resolve())
        name = package or path.name.partition(".so")[0]
        if not name.startswith(("libpython", "python")):
            yield name, package, path


def _package(path: Path) -> str | None:
    if not shutil.which("dpkg-query"):
        return None
    # Debian 12 has /lib as a link to /usr/lib, and its package lists name either.
    for candidate in (str(path), str(path).removeprefix("/usr")):
        done = subprocess.run(["dpkg-query", "--search", candidate], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.partition(": ")[0].partition(":")[0]
    return None
