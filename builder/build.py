"""A build: from a model or a recipe to one executable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.archive_writer import stamp_of
from solofile.builder.chosen_models import checked_name, choose_models, default_of, license_texts, model_entry
from solofile.builder.companions import with_companions
from solofile.builder.copying import can_clone
from solofile.builder.errors import BadInput, BadRecipe, BadSource
from solofile.builder.gguf_check import ModelFacts
from solofile.builder.icon import read_icon
from solofile.builder.output import check_output, check_space, explained, replacing
from solofile.builder.packfile import Pack
from solofile.builder.progress import Progress
from solofile.builder.prompt_build import stored_prompts
from solofile.builder.recipe import Recipe
from solofile.builder.recipe_document import shipped_folder
from solofile.builder.sources import BundleSource, Fetched, PathSource, model_stem, safe_name
from solofile.builder.targets import check_size
from solofile.builder.tools import ProgressMaker
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle
from solofile.runtime.manifest import Manifest


@dataclass(frozen=True)
class BuildRequest(Recipe):
    """What to build: a recipe, overruled by the command line; what is None the model or this machine decides."""

    output: Path | None = None
    force: bool = False


__all__ = ["BuildRequest", "Built", "build_bundle", "checked_name", "checked_stamp", "model_entry"]

PackFinder = Callable[[BuildRequest], Sequence[Pack]]
"""Opens the packs for what is asked for: targets (none: this machine's), kernels and GPU backends."""


@dataclass(frozen=True)
class Built:
    """A finished bundle."""

    path: Path
    manifest: Manifest
    facts: ModelFacts
    notes: tuple[str, ...] = ()
    """What whoever builds should know of the model, as sentences."""


def build_bundle(request: BuildRequest, find_packs: PackFinder, progress: ProgressMaker = Progress) -> Built:
    """Build what ``request`` says. Raises BadInput for what the user gave, BuildError; leaves nothing half done."""
    name = _name(request)
    output = request.output or Path(f"{name}.exe")
    check_output(output, force=request.force)
    check_verified(request)
    icon = read_icon(request.icon) if request.icon else None
    stamp = checked_stamp(os.environ.get("SOURCE_DATE_EPOCH"))
    chosen = choose_models(request, progress)
    for one in chosen:
        check_output(output, force=request.force, model=one.fetched.path)
    chosen, companions = with_companions(request, chosen, progress)
    default = next(one for one in chosen if one.model is default_of([one.model for one in chosen]))
    arguments = (*(word for one in companions for word in one.arguments), *request.arguments)
    files = {one.path: one.fetched.path for one in companions}
    with contextlib.ExitStack() as stack:
        packs = [stack.enter_context(pack) for pack in find_packs(request)]
        plan = BundlePlan(
            name=name,
            title=request.title or (chosen[0].facts.name if len(chosen) == 1 else None) or name,
            packs=packs,
            models=[ModelFile(one.model, one.fetched.path, one.fetched.span) for one in chosen],
            default_model=default.model.path,
            system_prompt=request.system_prompt,
            arguments=arguments,
            licenses=license_texts(name, chosen),
            companions=files,
            stamp=stamp,
            prompts=stored_prompts(request, default, arguments, files, packs, stack, progress),
            icon=icon,
            greeting=request.greeting,
        )
        for pack in plan.packs:
            check_size(pack.facts.target, plan.estimated_size)
        checked = {one.model.path: one.fetched for one in chosen} | {one.path: one.fetched for one in companions}
        notes = tuple(dict.fromkeys(note for one in chosen for note in one.notes))
        return Built(output, _write(plan, output, checked, progress), default.facts, notes)


def _write(plan: BundlePlan, output: Path, checked: Mapping[str, Fetched], progress: ProgressMaker) -> Manifest:
    size = plan.estimated_size
    with explained(output, size), progress(f"Writing {output.name}", size, "B") as shown:
        if not can_clone(checked[plan.default_model].path, output.parent):
            check_space(output, size)
        with replacing(output, mode=0o755) as file:
            manifest = write_bundle(plan, file, shown.update)
            shown.total = file.tell()
            shown.update(file.tell())
            for path, fetched in checked.items():
                _check_hash(manifest, path, fetched)
    return manifest


def _check_hash(manifest: Manifest, path: str, fetched: Fetched) -> None:
    found = next(part.sha256 for part in manifest.parts if part.path == path)
    if fetched.sha256 in (None, found):
        return
    sums = f"its SHA-256 is {found} in place of {fetched.sha256}"
    if fetched.cached:
        raise BadSource(f"{fetched.path} has changed since it was fetched ({sums}): delete it and build again.")
    if fetched.span is not None:
        raise BadSource(f"The model in {fetched.path} is damaged ({sums}): copy or download the bundle again.")
    raise BadSource(f"{fetched.path} is not the file that is meant: {sums}.")


def _name(request: BuildRequest) -> str:
    """The bundle's name: as given, else the output's, else the model's."""
    if request.name is not None:
        return checked_name(request.name)
    if request.models and request.output is None:
        raise BadInput("A bundle of several models needs a name: give -o or --name, or the recipe the key name.")
    if request.output is not None:
        return safe_name(request.output.name.removesuffix(".exe"))
    if isinstance(request.source, PathSource):
        return safe_name(model_stem(request.source.path.name))
    if isinstance(request.source, BundleSource):
        return safe_name(request.source.path.name.removesuffix(".exe"))
    raise BadRecipe("A recipe whose model is fetched must name the bundle: add the key name, or give --name.")


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


def checked_stamp(epoch: str | None) -> int:
    """ZIP's time for SOURCE_DATE_EPOCH. Raises BadInput."""
    try:
        return stamp_of(epoch)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"SOURCE_DATE_EPOCH is “{epoch}”: set it to seconds since 1970, or unset it.") from error
