"""A build: from a model or a recipe to one executable."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.archive_writer import stamp_of
from solofile.builder.companions import companions_of
from solofile.builder.copying import can_clone
from solofile.builder.errors import BadInput, BadRecipe, BadSource
from solofile.builder.from_bundle import license_of
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.output import check_output, check_space, explained, replacing
from solofile.builder.own_launcher import read_launcher
from solofile.builder.packfile import LAUNCHER_NAME, Pack
from solofile.builder.progress import Progress
from solofile.builder.recipe import Recipe
from solofile.builder.recipe_document import shipped_folder
from solofile.builder.sources import BundleSource, Fetched, PathSource, fetch, model_stem, safe_name
from solofile.builder.splits import joined
from solofile.builder.splitting import model_beside, split_limit
from solofile.builder.tools import ProgressMaker
from solofile.builder.windows_resources import Label, labelled
from solofile.builder.writer import Apart, BundlePlan, ModelFile, write_bundle
from solofile.runtime.manifest import Manifest, Model
from solofile.runtime.version import __version__

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class BuildRequest(Recipe):
    """What to build: a recipe, overruled by the command line; what is None the model or this machine decides."""

    output: Path | None = None
    force: bool = False
    split: str | None = None
    """A size such as ``4g``: above it the model is written to a file of its own."""
    launcher: Path | None = None
    """A launcher in place of the pack's."""


PackFinder = Callable[[BuildRequest], Sequence[Pack]]
"""Opens the packs for what is asked for: targets (none: this machine's), kernels and GPU backends."""


@dataclass(frozen=True)
class Built:
    """A finished bundle; ``apart`` is the second file of one that is split."""

    path: Path
    manifest: Manifest
    facts: ModelFacts
    apart: Path | None = None


def build_bundle(request: BuildRequest, find_packs: PackFinder, progress: ProgressMaker = Progress) -> Built:
    """Build what ``request`` says. Raises BadInput for what the user gave, BuildError; leaves nothing half done."""
    name = _name(request)
    output = request.output or Path(f"{name}.exe")
    check_output(output, force=request.force)
    check_verified(request)
    spdx, licenses = _license(name, request)
    stamp = checked_stamp(os.environ.get("SOURCE_DATE_EPOCH"))
    fetched = joined(fetch(request.source, progress), progress)
    facts = check_model(fetched.path, fetched.span)
    check_output(output, force=request.force, model=fetched.path)
    model = model_entry(facts, Path(fetched.name), spdx)
    companions = companions_of(request, fetched, progress)
    with contextlib.ExitStack() as stack:
        packs = [stack.enter_context(pack) for pack in find_packs(request)]
        launcher = _launcher(request, packs, title=request.title or facts.name or name, name=name)
        plan = BundlePlan(
            name=name,
            title=request.title or facts.name or name,
            packs=packs,
            models=[ModelFile(model, fetched.path, fetched.span)],
            default_model=model.path,
            system_prompt=request.system_prompt,
            arguments=(*(word for one in companions for word in one.arguments), *request.arguments),
            licenses=licenses,
            companions={one.path: one.fetched.path for one in companions},
            stamp=stamp,
            launcher=launcher,
        )
        checked = {model.path: fetched, **{one.path: one.fetched for one in companions}}
        limit = split_limit(request.split, [pack.facts.target for pack in packs])
        apart = model_beside(output) if limit is not None and plan.estimated_size > limit else None
        if apart is not None:
            check_output(apart, force=request.force, model=fetched.path)
        return Built(output, _write(plan, output, apart, checked, progress), facts, apart)


def _write(
    plan: BundlePlan, output: Path, apart: Path | None, checked: Mapping[str, Fetched], progress: ProgressMaker
) -> Manifest:
    size = plan.estimated_size
    with explained(output, size), progress(f"Writing {output.name}", size, "B") as shown:
        if not can_clone(checked[plan.default_model].path, output.parent):
            check_space(output, size)
        # The model is put in its place first: a program without it would be no use.
        with replacing(output, mode=0o755) as file, replacing(apart) if apart else contextlib.nullcontext() as second:
            beside = Apart(second, apart.name) if apart and second else None
            manifest = write_bundle(plan, file, shown.update, beside)
            shown.total = file.tell()
            shown.update(file.tell())
            for path, fetched in checked.items():
                _check_hash(manifest, path, fetched)
    return manifest


def _launcher(request: BuildRequest, packs: Sequence[Pack], *, title: str, name: str) -> bytes | None:
    """The launcher, if it is not the packs' own as it is: given, or with what Windows shows of it."""
    if request.launcher:
        return read_launcher(request.launcher, [pack.facts.target for pack in packs])
    if [pack.facts.target.partition("-")[0] for pack in packs] != ["windows"]:
        return None
    try:
        icon = request.icon.read_bytes() if request.icon else None
    except OSError as error:
        raise BadInput(f"The icon {request.icon} cannot be read: {error.strerror}.") from error
    return labelled(packs[0].read(LAUNCHER_NAME), Label(title, name, request.version or __version__, icon))


def _check_hash(manifest: Manifest, path: str, fetched: Fetched) -> None:
    apart = {one.path: one.sha256 for one in manifest.beside}
    found = ({part.path: part.sha256 for part in manifest.parts} | apart)[path]
    if fetched.sha256 in (None, found):
        return
    sums = f"its SHA-256 is {found} in place of {fetched.sha256}"
    if fetched.cached:
        raise BadSource(f"{fetched.path} has changed since it was fetched ({sums}): delete it and build again.")
    if fetched.span is not None:
        raise BadSource(f"The model in {fetched.path} is damaged ({sums}): copy or download the bundle again.")
    raise BadSource(f"{fetched.path} is not the file that is meant: {sums}.")


def model_entry(facts: ModelFacts, path: Path, spdx: str | None) -> Model:
    """What the manifest says of the model at ``path``; ``spdx`` overrules the license that the model names itself."""
    stem = safe_name(model_stem(path.name))
    return Model(
        path=f"models/{stem}.gguf",
        name=stem,
        architecture=facts.architecture,
        parameters=facts.parameters,
        quantization=facts.quantization,
        context_length=facts.context_length,
        chat_template=facts.chat_template,
        license=spdx or facts.license,
        size=facts.size,
    )


def _name(request: BuildRequest) -> str:
    """The bundle's name: as given, else the output's, else the model's."""
    if request.name is not None:
        return checked_name(request.name)
    if request.output is not None:
        return safe_name(request.output.name.removesuffix(".exe"))
    if isinstance(request.source, PathSource):
        return safe_name(model_stem(request.source.path.name))
    if isinstance(request.source, BundleSource):
        return safe_name(request.source.path.name.removesuffix(".exe"))
    raise BadRecipe("A recipe whose model is fetched must name the bundle: add the key name, or give --name.")


def checked_name(name: str) -> str:
    """``name``, if a bundle can have it. Raises BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"The name “{name}” cannot be used: take at most 100 letters, digits and . _ + -, "
            "beginning with a letter or a digit."
        )
    return name


def check_verified(request: BuildRequest) -> None:
    """Refuse a recipe whose model nobody has fetched yet to record what it is."""
    if request.verified is False:
        raise BadRecipe(
            f"The recipe {request.recipe} is not verified: let “solofile recipe pin {_pinnable(request)}” fetch the "
            "model and record its size and SHA-256, then build from what that writes."
        )


def _pinnable(request: BuildRequest) -> str:
    """The recipe as a user names it: a shipped one by its name."""
    path = request.recipe
    return path.stem if path and path.parent == shipped_folder() else str(path)


def _license(name: str, request: BuildRequest) -> tuple[str | None, Mapping[str, bytes]]:
    """The license's name, and its texts by their place in the bundle; a bundle's model brings its own."""
    spdx, texts = request.license, [_read_license(file) for file in request.license_files]
    if isinstance(request.source, BundleSource):
        old_spdx, old_texts = license_of(request.source)
        spdx, texts = spdx or old_spdx, texts or list(old_texts.values())
    return spdx, {
        f"LICENSES/model-{name}{'' if number == 1 else f'-{number}'}.txt": text for number, text in enumerate(texts, 1)
    }


def _read_license(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRecipe(f"The license text {file} cannot be read: {error.strerror}.") from error


def checked_stamp(epoch: str | None) -> int:
    """ZIP's time for SOURCE_DATE_EPOCH. Raises BadInput."""
    try:
        return stamp_of(epoch)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"SOURCE_DATE_EPOCH is “{epoch}”: set it to seconds since 1970, or unset it.") from error
