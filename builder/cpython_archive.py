"""CPython for a target out of an ``install_only`` archive of python-build-standalone: a tar file with ``python/``.

FILE | FILE#SHA256 | URL#SHA256      what --cpython takes
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from solofile.builder.cpython import TargetPython, check_machine, digest, module_name, running_minor
from solofile.builder.download import Remote, check_url, download
from solofile.builder.errors import BadInput, BuildError
from solofile.builder.hashing import file_sha256
from solofile.builder.paths import build_cache, cache_folder, locked, made_at
from solofile.builder.progress import Progress
from solofile.builder.targets import Target

LIMIT = 2 << 30
"""Bytes that an archive may unpack to: one has 0.2 GB."""

_LIBRARY = re.compile(r"libpython(\d+\.\d+)\.(?:so\.1\.0|dylib)|python(\d)(\d+)\.dll", flags=re.IGNORECASE)
_STANDARD = re.compile(r"(?:lib/python\d+\.\d+|Lib)/(?!test/|site-packages/|idlelib/|ensurepip/)")
_PATCHLEVEL = re.compile(r'#define PY_VERSION\s+"([^"]+)"')


def archive_key(given: str) -> str:
    """Stands for what ``from_archive`` returns. Raises BadInput."""
    place, sha256 = _parts(given)
    if sha256 is None:
        sha256 = file_sha256(_present(place))
    return digest([sha256], [Path(__file__)])


def from_archive(given: str, target: Target) -> TargetPython:
    """The CPython for ``target`` in an archive, unpacked into the build cache. Raises BadInput, BadSource."""
    key = archive_key(given)
    folder = build_cache() / "tools" / f"cpython-{target.name}-{key}"
    if not folder.is_dir():
        with locked(cache_folder("tools") / f"{folder.name}.lock"):
            if not folder.is_dir():
                with _archive(given) as archive, made_at(folder) as made:
                    _unpack(archive, made)
                    _describe(made, target, key, archive.name)
    return _describe(folder, target, key, PurePosixPath(_parts(given)[0]).name)


def _parts(given: str) -> tuple[str, str | None]:
    place, mark, sha256 = given.rpartition("#")
    if not mark:
        place, sha256 = given, ""
    if mark and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise BadInput(f"What stands behind # in --cpython {given} is no SHA-256: give its 64 hex digits.")
    if "://" in place and not sha256:
        raise BadInput(f"--cpython {given} needs the archive's SHA-256, so that nobody can change it: URL#SHA256.")
    return place, sha256 or None


def _present(place: str) -> Path:
    path = Path(place)
    if not path.is_file():
        raise BadInput(f"The CPython archive {place} is not there: check --cpython.")
    return path


@contextlib.contextmanager
def _archive(given: str) -> Iterator[Path]:
    """The archive, checked against its SHA-256, for as long as the block lasts."""
    place, sha256 = _parts(given)
    with contextlib.ExitStack() as stack:
        if "://" in place:
            name = PurePosixPath(check_url(place).path).name or "archive"
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=cache_folder("downloads"))))
            path = download(Remote(place, name), temporary, Progress).replace(temporary / name)
        else:
            path = _present(place)
        found = file_sha256(path) if sha256 else sha256
        if found != sha256:
            raise BadInput(
                f"{path.name} has the SHA-256 {found} and not {sha256}: it is not the archive that was meant."
            )
        yield path


def _unpack(archive: Path, folder: Path) -> None:
    """Put what is of use into ``folder``, without the ``python/`` at the start of each name."""
    size = 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                if not member.isreg() or parts[0] != "python" or ".." in parts or not _wanted("/".join(parts[1:])):
                    continue
                size += member.size
                if size > LIMIT:
                    raise BadInput(f"{archive.name} unpacks to more than {LIMIT} bytes: it is no CPython.")
                source = tar.extractfile(member)
                assert source is not None
                path = folder.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(
            f"{archive.name} is no tar archive that can be read ({error}): give an install_only one."
        ) from error


def _wanted(path: str) -> bool:
    name = path.rpartition("/")[2]
    if name.endswith((".so", ".pyd", ".dll", ".dylib", "patchlevel.h")) or _LIBRARY.fullmatch(name):
        return "test" not in name
    return name == "LICENSE.txt" or (bool(_STANDARD.match(path)) and name.endswith(".py"))


def _describe(folder: Path, target: Target, key: str, source: str) -> TargetPython:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    library = next((path for path in files if _LIBRARY.fullmatch(path.name)), None)
    if library is None:
        raise BadInput(f"{source} holds no Python library: give an install_only archive of python-build-standalone.")
    check_machine(library, target.name, source)
    standard = next((path.parent for path in files if path.name == "os.py"), None)
    if standard is None:
        raise BadInput(f"{source} holds no standard library: give an install_only archive of python-build-standalone.")
    version = _version(files, library)
    if ".".join(version.split(".")[:2]) != running_minor():
        raise BadInput(
            f"{source} is CPython {version}, and solofile runs in {running_minor()}, whose compiled modules it cannot "
            f"use: give one of {running_minor()}."
        )
    extensions = {name: path for path in files if (name := module_name(path.name))}
    others = [path for path in files if path.suffix in (".dll", ".dylib") and path != library]
    beside = {
        path.name: path.read_bytes() for path in others if path.parent == library.parent and path.suffix == ".dll"
    }
    terms = next((path.read_bytes() for path in files if path.name == "LICENSE.txt"), None)
    if terms is None:
        raise BuildError(f"{source} holds no LICENSE.txt, which a bundle has to carry: give a complete archive.")
    return TargetPython(
        target=target.name,
        version=version,
        extensions=extensions,
        libraries={path.name: path.read_bytes() for path in others if path.name not in beside},
        terms={"cpython": terms},
        key=key,
        library=library,
        beside_program=beside,
        standard=standard,
    )


def _version(files: list[Path], library: Path) -> str:
    """The release, such as ``3.11.9``: as its header says, else as much of it as the library's name does."""
    for path in files:
        match = _PATCHLEVEL.search(path.read_text("utf-8", "replace")) if path.name == "patchlevel.h" else None
        if match:
            return match[1].rstrip("+")
    match = _LIBRARY.fullmatch(library.name)
    assert match is not None
    return match[1] or f"{match[2]}.{match[3]}"
