"""A pack: the runtime frozen for one target, in one file from which builds copy (FORMAT.md, "The pack").

Its members are compressed already, so a build copies them as they lie. Like in a bundle, the comment holds a digest
over the facts (``pack.json``) and the directory, and the facts hold a digest of every member, so a damaged pack is
never built in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

from solofile.builder.archive_writer import ArchiveWriter, Span, deflate, deflated_member, open_raw
from solofile.builder.errors import PackError
from solofile.builder.output import replacing
from solofile.runtime.archive import (
    END_SIZE,
    ArchiveError,
    Member,
    check_path,
    local_header,
    parse_directory,
    parse_end,
)
from solofile.runtime.container import sums_path
from solofile.runtime.manifest import Gpu, LlamaCpp
from solofile.runtime.version import __version__

FORMAT = 1
FACTS_NAME = "pack.json"
LAUNCHER_NAME = "launcher"
COMMENT_PREFIX = f"solofile-pack {FORMAT} ".encode()
CHUNK = 1 << 20


@dataclass(frozen=True)
class PackFacts:
    """What a pack is: its target, the oldest system that it runs on, its CPU kernels and GPU backends, its makings."""

    target: str
    requires: str
    python: str
    llama_cpp: LlamaCpp
    kernels: tuple[str, ...]
    gpus: Mapping[str, Gpu] = dataclasses.field(default_factory=dict)
    solofile: str = __version__
    """The release that made it."""
    sources: str = ""
    """Stands for the runtime's own files, which may differ within a release while it is worked on."""


@dataclass(frozen=True)
class PackSource:
    """One file for a pack: its member path (``runtime/<target>/…``, ``native/<target>/…`` or ``LICENSES/…``)."""

    path: str
    source: Path | bytes
    mode: int = 0o644

    def read(self) -> bytes:
        """The contents."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(frozen=True)
class PackMember:
    """One file of a pack; ``stored_crc`` is the CRC-32 of its bytes as they lie in the pack."""

    path: str
    size: int
    sha256: str
    mode: int
    stored_crc: int


class Pack:
    """An open pack: ``facts``, ``members`` by path in the order of a bundle, ``digest``, and the bytes."""

    def __init__(
        self,
        path: Path,
        file: io.FileIO,
        facts: PackFacts,
        members: Mapping[str, PackMember],
        entries: Sequence[Member],
    ) -> None:
        self.path = path
        self.facts = facts
        self.members = MappingProxyType(dict(members))
        self._entries = {entry.path: entry for entry in entries}
        self._file = file

    @classmethod
    def open(cls, path: Path, span: Span | None = None) -> Pack:
        """Open the pack at ``path``, or in ``span`` of that file.

        Raises PackError when it is damaged, not there, or of another format.
        """
        try:
            file = open_raw(path) if span is None else _Within(path, span)
        except OSError as error:
            raise PackError(f"The pack {path} cannot be opened: {error.strerror}.") from error
        try:
            return _open(path, file)
        except (ArchiveError, KeyError, TypeError, ValueError) as error:
            file.close()
            raise PackError(f"The pack {path} is damaged ({error}): delete it and build it again.") from error
        except BaseException:
            file.close()
            raise

    @property
    def digest(self) -> str:
        """The SHA-256 of the sums, which names the pack's folder in the cache of the machine where a bundle runs."""
        return self.members[sums_path(self.facts.target)].sha256

    @property
    def launcher(self) -> PackMember:
        """The facts of the launcher."""
        return self.members[LAUNCHER_NAME]

    @property
    def stored_size(self) -> int:
        """Bytes that all members take in a bundle, compressed and with their headers."""
        return sum(entry.end - entry.header_offset for entry in self._entries.values())

    def entry(self, path: str) -> Member:
        """The archive's facts of a member: what ``ArchiveWriter.add_raw`` takes."""
        return self._entries[path]

    def raw(self, path: str) -> Iterator[bytes]:
        """The stored bytes of a member in chunks, as they lie. Raises PackError after the last when one has changed."""
        entry, crc = self._entries[path], 0
        offset, left = entry.data_offset, entry.stored
        while left:
            chunk = self._read_at(offset, min(left, CHUNK))
            if not chunk:
                break
            crc = zlib.crc32(chunk, crc)
            offset, left = offset + len(chunk), left - len(chunk)
            yield chunk
        if left or crc != self.members[path].stored_crc:
            raise PackError(f"The pack {self.path} is damaged ({path} was changed): delete it and build it again.")

    def read(self, path: str) -> bytes:
        """The contents of a member."""
        raw = b"".join(self.raw(path))
        return raw if self._entries[path].method == 0 else zlib.decompress(raw, -15)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


def write_pack(
    path: Path,
    *,
    facts: PackFacts,
    launcher: bytes,
    files: Iterable[PackSource],
    on_files: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the pack at ``path``, whole or not at all. Makes the member with the sums itself.

    ``on_files`` is told the files done so far.

    Raises ValueError for a member path that is not a pack's or comes twice, OSError as the system does.
    """
    ordered = _ordered(files, facts.target)
    prefix = f"runtime/{facts.target}/"
    with replacing(path) as output:
        writer = ArchiveWriter(output)
        members = [_add(writer, PackSource(LAUNCHER_NAME, launcher, 0o755), launcher, None)]
        sums: list[str] = []
        sums_written = False
        with _threads() as threads:
            for count, (source, data, stored) in enumerate(threads.map(_compressed, ordered), 1):
                if not source.path.startswith("runtime/") and not sums_written:
                    members.append(_add_sums(writer, facts.target, sums))
                    sums_written = True
                member = _add(writer, source, data, stored)
                members.append(member)
                if source.path.startswith(prefix):
                    sums.append(f"{member.sha256} {member.size} {member.mode:04o} {source.path[len(prefix) :]}\n")
                on_files(count)
        if not sums_written:
            members.append(_add_sums(writer, facts.target, sums))
        facts_bytes = _facts_json(facts, members)
        writer.add_bytes(FACTS_NAME, facts_bytes)
        writer.finish(lambda directory: _comment(facts_bytes, directory))


class _Within(io.FileIO):
    """Some bytes of a file, as if they were all of it; for reading after a seek."""

    def __init__(self, path: Path, span: Span) -> None:
        super().__init__(path)
        self._span = span

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As files do, from the start or the end of the span."""
        position = offset + (self._span.size if whence == os.SEEK_END else 0)
        return super().seek(self._span.start + position) - self._span.start


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that drop what has not begun when the block fails or is interrupted."""
    threads = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _ordered(files: Iterable[PackSource], target: str) -> list[PackSource]:
    """Sorted as a bundle has them: the runtime, the libraries, the licenses, each by the bytes of its path."""
    groups = (f"runtime/{target}/", f"native/{target}/", "LICENSES/")
    ordered: dict[str, PackSource] = {}
    for source in files:
        check_path(source.path)
        if not source.path.startswith(groups) or source.path in ordered:
            raise ValueError(f"{source.path} cannot be a member of a pack for {target}, or comes twice")
        ordered[source.path] = source
    ranks = {path: next(rank for rank, group in enumerate(groups) if path.startswith(group)) for path in ordered}
    return [ordered[path] for path in sorted(ordered, key=lambda path: (ranks[path], path.encode()))]


def _compressed(source: PackSource) -> tuple[PackSource, bytes, bytes]:
    data = source.read()
    return source, data, deflate(data)


def _add(writer: ArchiveWriter, source: PackSource, data: bytes, stored: bytes | None) -> PackMember:
    if stored is None:
        stored = data
        part = writer.add_bytes(source.path, data, mode=source.mode)
    else:
        member = deflated_member(source.path, data, stored, source.mode)
        part = writer.add_raw(member, hashlib.sha256(data).hexdigest(), [stored])
    return PackMember(part.path, part.size, part.sha256, source.mode, zlib.crc32(stored))


def _add_sums(writer: ArchiveWriter, target: str, sums: list[str]) -> PackMember:
    text = "".join(sums).encode()
    return _add(writer, PackSource(sums_path(target), text), text, deflate(text))


def _facts_json(facts: PackFacts, members: list[PackMember]) -> bytes:
    document = {"format": FORMAT, **dataclasses.asdict(facts), "members": [dataclasses.asdict(one) for one in members]}
    if not facts.gpus:
        del document["gpus"]
    return (json.dumps(document, indent=1) + "\n").encode()


def _comment(facts: bytes, directory: bytes) -> bytes:
    return COMMENT_PREFIX + hashlib.sha256(facts + directory).hexdigest().encode()


def _open(path: Path, file: io.FileIO) -> Pack:
    size = file.seek(0, os.SEEK_END)
    tail_size = END_SIZE + len(COMMENT_PREFIX) + 64
    file.seek(max(0, size - tail_size))
    end = parse_end(file.read(tail_size), size)
    file.seek(end.directory_offset)
    directory = file.read(end.directory_size)
    entries = parse_directory(directory, end)
    last = entries[-1]
    file.seek(last.header_offset)
    facts_bytes = file.read(last.end - last.header_offset)[len(local_header(last)) :]
    if last.path != FACTS_NAME or _comment(facts_bytes, directory) != end.comment:
        raise ArchiveError("its facts, its directory or the digest over them was changed")
    facts, members = _parse_facts(facts_bytes)
    if [member.path for member in members] != [entry.path for entry in entries[:-1]]:
        raise ArchiveError("its facts and its directory disagree")
    return Pack(path, file, facts, {member.path: member for member in members}, entries[:-1])


def _parse_facts(data: bytes) -> tuple[PackFacts, list[PackMember]]:
    document = json.loads(data)
    if document.pop("format") != FORMAT:
        raise ArchiveError("its format is not the one of this solofile")
    members = [PackMember(**member) for member in document.pop("members")]
    llama_cpp = LlamaCpp(**document.pop("llama_cpp"))
    kernels = tuple(document.pop("kernels"))
    gpus = {
        name: Gpu(gpu["requires"], tuple(gpu["needs"]), tuple(gpu["lacks"]))
        for name, gpu in document.pop("gpus", {}).items()
    }
    release = document.pop("solofile", "an older release")
    return PackFacts(**document, llama_cpp=llama_cpp, kernels=kernels, gpus=gpus, solofile=release), members
