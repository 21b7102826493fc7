"""A build: from a model or a recipe to one executable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder import forms
from solofile.builder.archive_writer import stamp_of
from solofile.builder.chosen_models import checked_name, choose_models, default_of, license_texts, model_entry
from solofile.builder.companions import with_companions
from solofile.builder.copying import can_clone
from solofile.builder.errors import BadInput, BadRecipe, BadSource
from solofile.builder.gguf_check import ModelFacts
from solofile.builder.icon import Icon, read_icon
from solofile.builder.output import check_output, check_space, explained, replacing
from solofile.builder.own_launcher import read_launcher
from solofile.builder.packfile import LAUNCHER_NAME, Pack
from solofile.builder.polyglot import polyglot
from solofile.builder.progress import Progress, byte_size
from solofile.builder.prompt_build import stored_prompts
from solofile.builder.recipe import Recipe
from solofile.builder.recipe_document import shipped_folder
from solofile.builder.sources import BundleSource, Fetched, PathSource, model_stem, safe_name
from solofile.builder.splitting import model_beside, split_limit
from solofile.builder.tools import ProgressMaker
from solofile.builder.windows_resources import Label, labelled
from solofile.builder.writer import Apart, BundlePlan, ModelFile, write_bundle
from solofile.runtime.manifest import Manifest
from solofile.runtime.manifest_behind import PYZ
from solofile.runtime.version import __version__


@dataclass(frozen=True)
class BuildRequest(Recipe):
    """What to build: a recipe, overruled by the command line; what is None the model or this machine decides."""

    output: Path | None = None
    force: bool = False
    split: str | None = None
    """A size such as ``4g``: above it the model is written to a file of its own."""
    launcher: Path | None = None
    """A launcher in place of the pack's."""


__all__ = ["BuildRequest", "Built", "build_bundle", "checked_name", "checked_stamp", "model_entry"]

PackFinder = Callable[[BuildRequest], Sequence[Pack]]
"""Opens the packs for what is asked for: targets (none: this machine's), kernels and GPU backends."""


@dataclass(frozen=True)
class Built:
    """A finished bundle; ``apart`` is the second file of one that is split."""

    path: Path
    manifest: Manifest
    facts: ModelFacts
    notes: tuple[str, ...] = ()
    """What whoever builds should know of the model, as sentences."""
    apart: Path | None = None
    """The second file of a bundle that is two."""


def build_bundle(request: BuildRequest, find_packs: PackFinder, progress: ProgressMaker = Progress) -> Built:
    """Build what ``request`` says. Raises BadInput for what the user gave, BuildError; leaves nothing half done."""
    forms.check_format(request.format, request.cosmo_python, request.launcher)
    name = _name(request)
    output = request.output or forms.output_for(name, request.format, request.targets)
    check_output(output, force=request.force)
    form = forms.new_form(request.format, request.cosmo_python)
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
        title = request.title or (chosen[0].facts.name if len(chosen) == 1 else None) or name
        plan = BundlePlan(
            name=name,
            title=title,
            packs=forms.packs_for(form, packs, stack),
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
            launcher=None if form else _launcher(request, packs, icon, title=title, name=name),
            form=form,
        )
        apart = _apart(plan, output, request, default.fetched.path)
        checked = {one.model.path: one.fetched for one in chosen} | {one.path: one.fetched for one in companions}
        notes = tuple(dict.fromkeys(note for one in chosen for note in one.notes))
        return Built(output, _write(plan, output, apart, checked, progress), default.facts, notes, apart)


def _apart(plan: BundlePlan, output: Path, request: BuildRequest, model: Path) -> Path | None:
    """The second file, where one would be too large. Raises BadInput."""
    # A zipapp is no program of the system, so Windows does not mind how large it is.
    programs = [] if request.format == PYZ else [pack.facts.target for pack in plan.packs]
    limit = split_limit(request.split, programs)
    if limit is None or plan.estimated_size <= limit:
        return None
    if len(plan.models) > 1:
        raise BadInput(
            f"A bundle of several models is one file, and this one would have {byte_size(plan.estimated_size)} where "
            f"{byte_size(limit)} are the most: build one for each model."
        )
    apart = model_beside(output)
    check_output(apart, force=request.force, model=model)
    return apart


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


def _launcher(
    request: BuildRequest, packs: Sequence[Pack], icon: Icon | None, *, title: str, name: str
) -> bytes | None:
    """The launcher, if it is not the packs' own as it is: given, or with what Windows shows of it."""
    if request.launcher:
        return read_launcher(request.launcher, [pack.facts.target for pack in packs])
    launchers = {pack.facts.target: pack.read(LAUNCHER_NAME) for pack in packs}
    for target in launchers:
        if target.startswith("windows-"):
            label = Label(title, name, request.version or __version__, icon.as_ico() if icon else None)
            launchers[target] = labelled(launchers[target], label)
            return polyglot(launchers) if len(launchers) > 1 else launchers[target]
    return None


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


def _name(request: BuildRequest) -> str:
    """The bundle's name: as given, else the output's, else the model's."""
    if request.name is not None:
        return checked_name(request.name)
    if request.models and request.output is None:
        raise BadInput("A bundle of several models needs a name: give -o or --name, or the recipe the key name.")
    if request.output is not None:
        return safe_name(forms.named(request.output))
    if isinstance(request.source, PathSource):
        return safe_name(model_stem(request.source.path.name))
    if isinstance(request.source, BundleSource):
        return safe_name(forms.named(request.source.path))
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
