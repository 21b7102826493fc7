"""Writes a bundle: launcher, packs, models and manifest, in the order of FORMAT.md."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from solofile.builder.archive_writer import ArchiveWriter, Span, open_raw
from solofile.builder.behind import Form
from solofile.builder.copying import Digests, SourceFault, copy_file, write_all
from solofile.builder.errors import BadModel, PackError
from solofile.builder.known_hashes import Look, recall, remember
from solofile.builder.packfile import LAUNCHER_NAME, Pack
from solofile.builder.polyglot import polyglot
from solofile.runtime.archive import ALIGNMENT, EPOCH_1980
from solofile.runtime.beside import EDGE
from solofile.runtime.ending import COMMENT_SIZE, FORMAT, comment_of, sums_path
from solofile.runtime.manifest import (
    LAUNCHER_PART,
    MANIFEST_NAME,
    Launcher,
    LlamaCpp,
    Manifest,
    Model,
    Part,
    Target,
)
from solofile.runtime.manifest_behind import PYTHON, Behind
from solofile.runtime.manifest_beside import Beside
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.version import __version__


@dataclass(frozen=True)
class ModelFile:
    """A model to put in: what the manifest says of it, and the file it lies in now: all of it, or ``span``."""

    model: Model
    source: Path
    span: Span | None = None


@dataclass(frozen=True)
class PromptFile:
    """A stored prompt to put in: what the manifest says of it but for the model's hash, and the file it lies in now."""

    prompt: Prompt
    source: Path


@dataclass(frozen=True)
class BundlePlan:
    """Everything that decides the bytes of a bundle.

    ``licenses`` are texts by member path, ``companions`` files by theirs (they lie behind the models), ``icon`` is a
    member's path and its bytes, ``stamp`` is ZIP's time, ``launcher`` is one in place of the packs' own.
    """

    name: str
    title: str
    packs: Sequence[Pack]
    models: Sequence[ModelFile]
    default_model: str
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    licenses: Mapping[str, bytes] | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)
    stamp: int = EPOCH_1980
    icon: tuple[str, bytes] | None = None
    greeting: str | None = None
    prompts: Sequence[PromptFile] = ()
    launcher: bytes | None = None
    form: Form | None = None
    """Of a bundle that a Python starts."""

    @property
    def estimated_size(self) -> int:
        """Bytes that the bundle takes, a little too many."""
        packs = sum(pack.stored_size for pack in self.packs)
        models = sum(one.model.size + 2 * ALIGNMENT for one in self.models)
        models += sum(path.stat().st_size + 2 * ALIGNMENT for path in self.companions.values())
        models += sum(one.source.stat().st_size + ALIGNMENT for one in self.prompts)
        texts = sum(map(len, (self.licenses or {}).values())) + (len(self.icon[1]) if self.icon else 0)
        form = len(self.form.head) + len(self.form.behind(0)) if self.form else 0
        return packs + models + texts + form + 4 * ALIGNMENT


@dataclass(frozen=True)
class Apart:
    """The file that the model is written to, empty and open for reading and writing; the name that it will have."""

    file: io.FileIO
    name: str


def write_bundle(
    plan: BundlePlan, output: io.FileIO, on_bytes: Callable[[int], None], apart: Apart | None = None
) -> Manifest:
    """Write the bundle of ``plan`` into the empty ``output``, open for reading and writing; its manifest.

    ``apart`` is for the one model of a bundle that is written as two files. ``on_bytes`` is told the bytes written so
    far. Raises PackError for a damaged pack, BadModel for a model that
    changes while it is read, OSError as the system does.
    """
    head = plan.form.head if plan.form else plan.launcher
    writer, launcher = begin(plan.packs, plan.licenses or {}, plan.stamp, output, on_bytes, head)
    beside: tuple[Beside, ...] = ()
    if apart is None:
        _add_models(writer, plan.models, on_bytes)
    else:
        beside = _write_apart(plan.models, apart, writer.position, on_bytes)
    _add_companions(writer, plan.companions, on_bytes)
    add_prompts(writer, plan.prompts, on_bytes)
    if plan.icon is not None:
        writer.add_bytes(*plan.icon)
    manifest = _manifest(plan, [launcher, *writer.parts], beside, writer.packed)
    manifest = finish(writer, manifest, plan.form)
    on_bytes(output.tell())
    return manifest


def begin(
    packs: Sequence[Pack],
    licenses: Mapping[str, bytes],
    stamp: int,
    output: io.FileIO,
    on_bytes: Callable[[int], None],
    own_launcher: bytes | None = None,
) -> tuple[ArchiveWriter, Part]:
    """Write all that comes before the models: the writer that goes on from there, and the launcher."""
    data = own_launcher or _launcher_of(packs)
    write_all(output, data)
    launcher = Part(LAUNCHER_PART, 0, len(data), len(data), hashlib.sha256(data).hexdigest())
    writer = ArchiveWriter(output, stamp=stamp)
    _add_packs(writer, packs, licenses, on_bytes)
    return writer, launcher


def finish(writer: ArchiveWriter, manifest: Manifest, form: Form | None = None) -> Manifest:
    """Write all that comes behind the models' padding; the manifest as it is written."""
    behind = form.behind(0) if form else b""
    while form is not None:
        # The ZIP may name its own place, and the manifest names its hash: it does not get longer by that.
        manifest = replace(manifest, behind=_behind(manifest, form, behind))
        before, behind = behind, form.behind(writer.end_with(MANIFEST_NAME, len(manifest.to_json()), COMMENT_SIZE))
        if behind == before:
            break
    manifest_bytes = manifest.to_json()
    writer.add_bytes(MANIFEST_NAME, manifest_bytes)
    writer.finish(lambda directory: comment_of(manifest_bytes, directory), behind)
    return manifest


def _behind(manifest: Manifest, form: Form, data: bytes) -> Behind:
    python = next((part.sha256 for part in manifest.parts if part.path == sums_path(PYTHON)), None)
    return Behind(form.name, len(data), hashlib.sha256(data).hexdigest(), python)


def _launcher_of(packs: Sequence[Pack]) -> bytes:
    """The one pack's launcher, or one made of those of several."""
    launchers = {pack.facts.target: pack.read(LAUNCHER_NAME) for pack in packs}
    for pack in packs:
        if not launchers[pack.facts.target]:
            raise PackError(f"The pack {pack.path} has no launcher: delete it and build it again.")
    return polyglot(launchers) if len(launchers) > 1 else next(iter(launchers.values()))


def _add_packs(
    writer: ArchiveWriter, packs: Sequence[Pack], own: Mapping[str, bytes], on_bytes: Callable[[int], None]
) -> None:
    """The runtimes, then the libraries, then the licenses; a license that two packs bring is the same text."""
    for root in ("runtime/", "native/"):
        for pack in packs:
            for path in pack.members:
                if path.startswith(root):
                    _copy(writer, pack, path, on_bytes)
    owners = {path: pack for pack in packs for path in pack.members if path.startswith("LICENSES/")}
    for path in sorted({*own, *owners}, key=str.encode):
        if path in own:
            writer.add_bytes(path, own[path])
        else:
            _copy(writer, owners[path], path, on_bytes)


def _copy(writer: ArchiveWriter, pack: Pack, path: str, on_bytes: Callable[[int], None]) -> None:
    writer.add_raw(pack.entry(path), pack.members[path].sha256, pack.raw(path))
    on_bytes(writer.position)


def _add_models(writer: ArchiveWriter, models: Sequence[ModelFile], on_bytes: Callable[[int], None]) -> None:
    for index, one in enumerate(models):
        writer.align_data(one.model.path, one.model.size, apart=index > 0)
        start = writer.position

        def report(done: int, start: int = start) -> None:
            on_bytes(start + done)

        try:
            part = _add_model(writer, one, report)
        except SourceFault as error:
            raise BadModel(f"The model {one.source} {error}: build again once it is whole.") from error
        if part.size != one.model.size:
            raise _changed(one)


def _write_apart(
    models: Sequence[ModelFile], apart: Apart, start: int, on_bytes: Callable[[int], None]
) -> tuple[Beside, ...]:
    (one,) = models  # what does not fit into one file is one model
    with open_raw(one.source) as source:
        offset, size = one.span or Span(0, one.model.size)
        try:
            report = functools.partial(_report, on_bytes, start)
            digests = copy_file(source, size, apart.file, 0, report, start=offset)
        except SourceFault as error:
            raise BadModel(f"The model {one.source} {error}: build again once it is whole.") from error
    apart.file.seek(0)
    first = apart.file.read(EDGE)
    apart.file.seek(max(0, size - EDGE))
    ends = hashlib.sha256(first + apart.file.read(EDGE)).hexdigest()
    return (Beside(one.model.path, apart.name, size, digests.sha256, ends),)


def _add_model(writer: ArchiveWriter, one: ModelFile, on_bytes: Callable[[int], None]) -> Part:
    """Stream one model, without hashing it where an earlier build has and it was not changed since."""
    with open_raw(one.source) as source:
        look = Look.at(source)
        known = recall(look) if one.span is None else None  # what is remembered are hashes of whole files
        part = writer.add_file(one.model.path, source, on_bytes, span=one.span, known=known)
        same = look.same(Look.at(source))
    if known and not same:
        raise _changed(one)
    if same and not known and one.span is None:
        remember(look, Digests(part.sha256, writer.members[-1].crc))
    return part


def _changed(one: ModelFile) -> BadModel:
    return BadModel(f"The model {one.source} changed while it was read: build again once it is whole.")


def _add_companions(writer: ArchiveWriter, companions: Mapping[str, Path], on_bytes: Callable[[int], None]) -> None:
    """Adapters and the like, each mapped or read from where it lies, as a model is."""
    for path, file in companions.items():
        with open_raw(file) as source:
            writer.align_data(path, file.stat().st_size, apart=True)
            start = writer.position
            try:
                writer.add_file(path, source, functools.partial(_report, on_bytes, start))
            except SourceFault as error:
                raise BadModel(f"{file} {error}: build again once it is whole.") from error


def add_prompts(writer: ArchiveWriter, prompts: Sequence[PromptFile], on_bytes: Callable[[int], None]) -> None:
    """The stored prompts, behind all else but the manifest, which is written next.

    They are not compressed: deflate takes 8 % off a state of 16-bit floats and 5 % off one of q8_0, and each start
    would have to undo it (tests/benchmarks/stored_prompt.py).
    """
    # Each apart from what lies before, so that opening the bundle reads no page of weights.
    writer.align_header()
    for one in prompts:
        with open_raw(one.source) as source:
            writer.add_file(one.prompt.path, source, functools.partial(_report, on_bytes, writer.position))
    writer.align_header()


def named(prompts: Sequence[PromptFile], parts: Sequence[Part | Beside]) -> tuple[Prompt, ...]:
    """What the manifest says of them; ``parts`` has the hash of the model that each is of."""
    digests = {part.path: part.sha256 for part in parts}
    return tuple(replace(one.prompt, model_sha256=digests[one.prompt.model]) for one in prompts)


def _report(on_bytes: Callable[[int], None], start: int, done: int) -> None:
    on_bytes(start + done)


def _manifest(plan: BundlePlan, parts: Sequence[Part], beside: tuple[Beside, ...], packed: str) -> Manifest:
    targets = targets_of(plan.packs)
    if plan.form is not None or (plan.launcher is not None and len(targets) == 1):
        targets = begun_with(parts[0], targets)
    return Manifest(
        format=FORMAT,
        solofile=__version__,
        llama_cpp=llama_cpp_of(plan.packs),
        name=plan.name,
        title=plan.title,
        targets=targets,
        models=tuple(one.model for one in plan.models),
        default_model=plan.default_model,
        system_prompt=plan.system_prompt,
        arguments=plan.arguments,
        parts=tuple(parts),
        packed=packed,
        icon=plan.icon[0] if plan.icon else None,
        greeting=plan.greeting,
        prompts=named(plan.prompts, (*parts, *beside)),
        beside=beside,
    )


def llama_cpp_of(packs: Sequence[Pack]) -> LlamaCpp:
    """The llama.cpp that all of them are made of."""
    found = {pack.facts.llama_cpp for pack in packs}
    if len(found) != 1:
        raise PackError("The packs are of different versions of llama.cpp: build them again.")
    return found.pop()


def targets_of(packs: Sequence[Pack]) -> Mapping[str, Target]:
    """What a manifest says of the packs; the modules for any Python are no target."""
    return {pack.facts.target: _target(pack) for pack in packs if pack.facts.target != PYTHON}


def begun_with(launcher: Part, targets: Mapping[str, Target]) -> Mapping[str, Target]:
    """The same of a file that begins otherwise than with the packs' own launchers."""
    own = Launcher(launcher.size, launcher.sha256)
    return {name: replace(target, launcher=own) for name, target in targets.items()}


def _target(pack: Pack) -> Target:
    return Target(
        requires=pack.facts.requires,
        pack=pack.digest,
        kernels=pack.facts.kernels,
        launcher=Launcher(pack.launcher.size, pack.launcher.sha256),
        gpus=pack.facts.gpus,
    )
