"""Makes a new bundle out of another one: with other settings, or with another runtime. The models are not read again.

The model's blocks are shared with the old file where the file system can do that. Where it cannot they are streamed,
and compared with the old manifest on the way. What the two do not change comes out byte for byte as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.archive_writer import ArchiveWriter, Span
from solofile.builder.behind import Form, form_of
from solofile.builder.copying import Digests, SourceFault, can_clone, clone_range, copy_file, copy_plain
from solofile.builder.errors import BadInput
from solofile.builder.icon import Icon
from solofile.builder.output import check_space, explained, replacing
from solofile.builder.packfile import Pack
from solofile.builder.progress import Progress
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import PromptFile, add_prompts, begin, begun_with, finish, llama_cpp_of, named, targets_of
from solofile.runtime.archive import ALIGNMENT, STORED, Member
from solofile.runtime.container import PADDING_PREFIX, Bundle
from solofile.runtime.ending import damaged
from solofile.runtime.layout import PROMPTS
from solofile.runtime.manifest import MANIFEST_NAME, Manifest, Part
from solofile.runtime.version import __version__

CARRIED = ("models/", "adapters/")
"""What belongs to the model and goes from an old bundle into the new one. Stored prompts depend on more."""

CHUNK = 1 << 20

OWN_LICENSES = "LICENSES/model"
"""The license texts that a recipe brings; the others are the pack's."""


@dataclass(frozen=True)
class Changes:
    """What is to be different; None leaves a setting as it is.

    An empty ``system_prompt`` or ``greeting`` stands for none, and so does an ``icon`` without bytes.
    """

    name: str | None = None
    title: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] | None = None
    greeting: str | None = None
    icon: Icon | None = None

    def icon_of(self, bundle: Bundle) -> Icon | None:
        """The icon that the new bundle gets."""
        if self.icon is not None:
            return self.icon if self.icon.data else None
        path = bundle.manifest.icon
        return Icon(path, bundle.read(path)) if path else None

    def applied(self, manifest: Manifest) -> Manifest:
        """``manifest`` with them, but for what an icon changes in it."""
        prompt = manifest.system_prompt if self.system_prompt is None else self.system_prompt or None
        return dataclasses.replace(
            manifest,
            name=self.name or manifest.name,
            title=self.title or manifest.title,
            system_prompt=prompt,
            arguments=manifest.arguments if self.arguments is None else self.arguments,
            greeting=manifest.greeting if self.greeting is None else self.greeting or None,
        )


def change_settings(
    bundle: Bundle,
    output: Path,
    changes: Changes,
    progress: ProgressMaker = Progress,
    *,
    prompts: Sequence[PromptFile] | None = None,
) -> Manifest:
    """Write ``bundle`` to ``output`` with other settings: all but the icon, manifest and directory stays as it is.

    ``prompts`` take the place of the stored prompts, unless it is None. Raises DamagedBundle for a part that is read
    and is not what it should be, BadOutput.
    """
    icon, old = changes.icon_of(bundle), bundle.manifest.icon
    *members, last = bundle.members.values()
    anew = (old, PROMPTS) if prompts is not None else (old,)
    kept = list(itertools.takewhile(lambda member: not _begins(member.path, anew), members))
    size = kept[-1].end
    with _output(bundle, output, bundle.file_size + (len(icon.data) if icon else 0), progress) as opened:
        file, source, on_bytes = opened
        _copy_body(bundle, source, file, size, on_bytes)
        writer = ArchiveWriter(file, stamp=last.stamp)
        writer.resume(kept)
        if prompts is not None:
            add_prompts(writer, prompts, on_bytes)
        if icon is not None:
            writer.add_bytes(*icon)
        parts = (*(part for part in bundle.manifest.parts if part.offset < size), *writer.parts)
        manifest = dataclasses.replace(
            changes.applied(bundle.manifest),
            parts=parts,
            icon=icon.path if icon else None,
            prompts=bundle.manifest.prompts if prompts is None else named(prompts, parts),
        )
        return finish(writer, manifest, form_of(bundle))


def _begins(path: str, anew: Sequence[str | None]) -> bool:
    """Whether a member is one of those that are written anew, or lies in such a folder."""
    return any(one is not None and path.startswith(one) for one in anew)


def change_runtime(
    bundle: Bundle,
    packs: Sequence[Pack],
    output: Path,
    changes: Changes,
    progress: ProgressMaker = Progress,
    *,
    stamp: int | None = None,
    prompts: Sequence[PromptFile] = (),
    form: Form | None = None,
) -> Manifest:
    """Write ``bundle`` to ``output`` with the runtime of ``packs``, other settings and these stored prompts.

    ``stamp`` is ZIP's time, ``form`` that of a bundle that a Python starts.

    Raises DamagedBundle for a part that is read and is not what it should be, PackError, BadOutput.
    """
    last = bundle.members[MANIFEST_NAME]
    carried = [member for member in bundle.members.values() if _is_carried(member)]
    licenses = {path: bundle.read(path) for path in bundle.parts if path.startswith(OWN_LICENSES)}
    size = sum(pack.stored_size for pack in packs) + sum(member.stored + 2 * ALIGNMENT for member in carried)
    with _output(bundle, output, size, progress) as (file, source, on_bytes):
        chosen = last.stamp if stamp is None else stamp
        writer, launcher = begin(packs, licenses, chosen, file, on_bytes, form.head if form else None)
        for index, member in enumerate(carried):
            _carry(writer, bundle, member, source, on_bytes, apart=index > 0)
        add_prompts(writer, prompts, on_bytes)
        icon = changes.icon_of(bundle)
        if icon is not None:
            writer.add_bytes(*icon)
        parts = (launcher, *writer.parts)
        manifest = dataclasses.replace(
            changes.applied(bundle.manifest),
            solofile=__version__,
            llama_cpp=llama_cpp_of(packs),
            targets=begun_with(launcher, targets_of(packs)) if form else targets_of(packs),
            parts=parts,
            packed=writer.packed,
            icon=icon.path if icon else None,
            prompts=named(prompts, parts),
            behind=None,
        )
        return finish(writer, manifest, form)


def _is_carried(member: Member) -> bool:
    return member.path.startswith(CARRIED) and not member.path.startswith(PADDING_PREFIX)


def _carry(
    writer: ArchiveWriter,
    bundle: Bundle,
    member: Member,
    source: io.FileIO,
    on_bytes: Callable[[int], None],
    *,
    apart: bool,
) -> None:
    """Copy one member, and have it begin at an aligned offset if it did before."""
    part, offset = bundle.parts[member.path], bundle.data_offset(member.path)
    if member.method != STORED:
        for _ in bundle.open_part(part):  # compares it with its hash
            pass
        writer.add_raw(member, part.sha256, _raw(source, Span(offset, member.stored)))
    else:
        if offset % ALIGNMENT == 0:
            writer.align_data(member.path, member.size, apart=apart)
        start, known, span = writer.position, Digests(part.sha256, member.crc), Span(offset, member.size)
        with _blamed(bundle, member.path):
            report = functools.partial(_report, on_bytes, start)
            writer.add_file(member.path, source, report, mode=member.mode, span=span, known=known, recheck=True)
    on_bytes(writer.position)


def _report(on_bytes: Callable[[int], None], start: int, done: int) -> None:
    on_bytes(start + done)


def _raw(source: io.FileIO, span: Span) -> Iterator[bytes]:
    source.seek(span.start)
    left = span.size
    while left and (chunk := source.read(min(left, CHUNK))):
        left -= len(chunk)
        yield chunk


def _copy_body(
    bundle: Bundle, source: io.FileIO, output: io.FileIO, size: int, on_bytes: Callable[[int], None]
) -> None:
    """Copy ``size`` bytes, to the end of a part: shared as a whole, or else streamed and compared part by part."""
    done = clone_range(source, output, 0, size)
    if not done:
        bundle.check_headers()
        for part in bundle.parts.values():
            if part.offset >= size:
                break  # what is written anew
            if not _streams(bundle, part):
                for _ in bundle.open_part(part):  # compares it with its hash; it is copied with the headers around it
                    pass
                continue
            copy_plain(source, done, part.offset - done, output, done, on_bytes)
            start, known = part.offset, Digests(part.sha256, bundle.members[part.path].crc)
            with _blamed(bundle, part.path):
                report = functools.partial(_report, on_bytes, start)
                copy_file(source, part.size, output, start, report, start=start, known=known, recheck=True)
            done = start + part.size
    copy_plain(source, done, size - done, output, done, on_bytes)


def _streams(bundle: Bundle, part: Part) -> bool:
    """Is it a large part that is compared while it is copied, so that it is read once?"""
    return part.path in bundle.members and bundle.members[part.path].method == STORED and part.size >= CHUNK


@contextlib.contextmanager
def _blamed(bundle: Bundle, path: str) -> Iterator[None]:
    try:
        yield
    except SourceFault as error:
        raise damaged(bundle.path, f"{path} {error}") from error


@contextlib.contextmanager
def _output(
    bundle: Bundle, output: Path, size: int, progress: ProgressMaker
) -> Iterator[tuple[io.FileIO, io.FileIO, Callable[[int], None]]]:
    """The new file, the old one, and what to tell the bytes done."""
    if bundle.manifest.beside:
        raise BadInput(f"The bundle {bundle.path} is split into two files: build it again from the model.")
    with explained(output, size), progress(f"Writing {output.name}", size, "B") as shown:
        if not can_clone(Path(bundle.path), output.parent):
            check_space(output, size)
        with io.FileIO(os.dup(bundle.fileno()), "rb") as source, replacing(output, mode=0o755) as file:
            yield file, source, shown.update
            shown.total = file.tell()
            shown.update(file.tell())
