"""The commands that make a new bundle out of another one: set, upgrade, and build --from."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from solofile.builder import forms
from solofile.builder.build import BuildRequest, checked_name, checked_stamp
from solofile.builder.changing import Changes, change_runtime, change_settings
from solofile.builder.commands import check_arguments, text_of, words_of
from solofile.builder.commands_model import refuse_model_work
from solofile.builder.commands_proof import signer
from solofile.builder.errors import BadInput
from solofile.builder.icon import Icon, read_icon
from solofile.builder.inspect import summary
from solofile.builder.output import check_output
from solofile.builder.pack_choice import find_packs
from solofile.builder.progress import Progress, byte_size
from solofile.builder.prompt_changes import after_set, after_upgrade
from solofile.builder.reporting import say
from solofile.builder.sources import PathSource
from solofile.builder.targets import TARGETS
from solofile.runtime.container import Bundle
from solofile.runtime.manifest import Manifest
from solofile.runtime.options import parse as parse_options

NO_ICON = Icon("", b"")


def set_settings(arguments: argparse.Namespace) -> int:
    """``solofile set``."""
    changes = _changes(arguments)
    if changes == Changes() and not arguments.no_stored_prompt:
        options = "--name, --title, --icon, --greeting, --system-prompt or --args"
        raise BadInput(f"Nothing is to be changed: give {options}.")
    sign = signer(arguments)
    with Bundle.open(arguments.file) as bundle, contextlib.ExitStack() as stack:
        if changes.arguments is not None:
            changes = replace(changes, arguments=(*_naming_parts(bundle), *changes.arguments))
        after = changes.applied(bundle.manifest)
        check_arguments(after.arguments)
        _check_output(arguments.output, arguments)
        prompts = after_set(bundle, after, stack, Progress, drop=arguments.no_stored_prompt)
        manifest = change_settings(bundle, arguments.output, changes, prompts=prompts)
    _say(arguments.output, manifest)
    sign(arguments.output)
    return 0


def upgrade(arguments: argparse.Namespace) -> int:
    """``solofile upgrade``."""
    return _rebuild(arguments, arguments.file, arguments.output, Changes())


def build_from(arguments: argparse.Namespace) -> int:
    """``solofile build --from``: default arguments are added behind the old ones, as behind a recipe's."""
    if arguments.mmproj is not None:
        raise BadInput("--mmproj goes with a model and not with --from: build from the model's file.")
    refuse_model_work(arguments)
    changes = _changes(arguments)
    with Bundle.open(arguments.old) as bundle:
        old = bundle.manifest
    if changes.arguments is not None:
        changes = replace(changes, arguments=(*old.arguments, *changes.arguments))
    form = arguments.format or (old.behind.form if old.behind else forms.EXE)
    forms.check_format(form, arguments.cosmo_python, arguments.launcher)
    output = arguments.output or forms.output_for(changes.name or old.name, form, old.targets)
    return _rebuild(arguments, arguments.old, output, changes)


def _rebuild(arguments: argparse.Namespace, old: Path, output: Path, changes: Changes) -> int:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    stamp = checked_stamp(epoch) if epoch else None
    sign = signer(arguments)
    with Bundle.open(old) as bundle, contextlib.ExitStack() as stack:
        before = bundle.manifest
        check_arguments(changes.applied(before).arguments)
        _check_output(output, arguments, old)
        name = getattr(arguments, "format", None) or forms.format_of(bundle)
        form = forms.renewed_form(bundle, name, getattr(arguments, "cosmo_python", None))
        packs = [stack.enter_context(pack) for pack in find_packs(_request(arguments, bundle), arguments.pack)]
        after, drop = changes.applied(before), arguments.no_stored_prompt
        prompts = after_upgrade(bundle, after, packs, stack, Progress, drop=drop)
        written = forms.packs_for(form, packs, stack)
        manifest = change_runtime(bundle, written, output, changes, stamp=stamp, prompts=prompts, form=form)
    _say(output, manifest, before)
    sign(output)
    return 0


def _request(arguments: argparse.Namespace, bundle: Bundle) -> BuildRequest:
    """What the packs are to hold: what the old bundle has, unless the command line says otherwise."""
    targets = bundle.manifest.targets
    request = BuildRequest(
        PathSource(Path(bundle.path)),
        targets=tuple(arguments.target) or tuple(targets),
        kernels=arguments.kernels or _kernels(bundle.manifest),
        gpu=arguments.gpu or "none",
        backends=tuple(arguments.backend),
    )
    if arguments.gpu or arguments.backend or arguments.pack:
        return request
    gpus = sorted({gpu for target in targets.values() for gpu in target.gpus})
    for name, target in targets.items():
        for gpu in target.gpus:
            if name in TARGETS and gpu not in TARGETS[name].gpus:
                raise BadInput(
                    f"{bundle.path} has the GPU backend {gpu}, which solofile cannot build: "
                    "give its library with --backend, or choose the backends with --gpu."
                )
    return replace(request, gpu=",".join(gpus) or "none")


def _kernels(manifest: Manifest) -> str:
    """The old kernels; all of today's where it has all that this solofile knows."""
    has = {kernel for target in manifest.targets.values() for kernel in target.kernels}
    known = {kernel for name in manifest.targets if name in TARGETS for kernel in TARGETS[name].kernels}
    return "all" if known <= has else ",".join(sorted(has))


def _changes(arguments: argparse.Namespace) -> Changes:
    return Changes(
        name=checked_name(arguments.name) if arguments.name is not None else None,
        title=arguments.title,
        system_prompt=None if arguments.system_prompt is None else text_of(arguments.system_prompt),
        arguments=None if arguments.args is None else tuple(words_of(arguments.args)),
        greeting=None if arguments.greeting is None else text_of(arguments.greeting),
        icon=None if arguments.icon is None else read_icon(arguments.icon) if arguments.icon.name else NO_ICON,
    )


def _naming_parts(bundle: Bundle) -> Iterator[str]:
    """The words of the default arguments that name parts of the bundle, as an adapter: without them these lie idle."""
    for one in parse_options(bundle.manifest.arguments):
        if any(name in bundle.parts for value in one.values for name in re.split("[,:]", value)):
            yield from one.words()


def _check_output(output: Path, arguments: argparse.Namespace, old: Path | None = None) -> None:
    """Who names the old file as the output means to replace it: that is one rename, when all is written."""
    source = old or arguments.file
    replaces = output.exists() and output.samefile(source)
    check_output(output, force=replaces or getattr(arguments, "force", False))


def _say(output: Path, manifest: Manifest, before: Manifest | None = None) -> None:
    say(f"{output}: {byte_size(output.stat().st_size)}, {summary(manifest)}", output)
    if before is not None:
        versions = [f"solofile {one.solofile} with llama.cpp {one.llama_cpp.commit[:7]}" for one in (before, manifest)]
        say(f"Runtime: {versions[0]} before, {versions[1]} now.")
