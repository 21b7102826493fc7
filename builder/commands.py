"""What the commands of the builder's command line do. They print; the modules that they call do the work."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from solofile.builder.build import BuildRequest, Built, build_bundle
from solofile.builder.commands_model import with_model_work
from solofile.builder.commands_proof import signer
from solofile.builder.errors import BadInput
from solofile.builder.gguf_memory import context_of
from solofile.builder.inspect import memory_text, summary
from solofile.builder.model_words import is_remote, model_source
from solofile.builder.pack_choice import expanded, find_packs
from solofile.builder.progress import Progress, byte_size
from solofile.builder.recipe import OneModel, read_recipe
from solofile.builder.recipe_document import shipped_recipe
from solofile.builder.reporting import say
from solofile.builder.sources import PathSource, model_in
from solofile.runtime import integrity
from solofile.runtime.container import Bundle
from solofile.runtime.errors import InputError
from solofile.runtime.options import parse as parse_options

DEMO_RECIPE = "smollm2-135m.toml"
DEMO_OUTPUT = Path("smollm2.exe")


def build(arguments: argparse.Namespace) -> int:
    """``solofile build``."""
    if arguments.old is not None:
        from solofile.builder.commands_change import build_from

        return build_from(arguments)
    sign = signer(arguments)
    request = overruled(requested(arguments), arguments)
    built = build_checked(request, arguments.pack)
    say(f"{built.path}: {byte_size(built.path.stat().st_size)}, {summary(built.manifest)}", built.path)
    if built.apart is not None:
        size = byte_size(built.apart.stat().st_size)
        print(f"{built.apart}: {size}, its model: keep both files together, in one folder.")
    if built.facts.memory:
        print(f"Memory: {memory_text(built.facts.memory, context_of(request.arguments))}")
    sign(built.path)
    return 0


def extract(arguments: argparse.Namespace) -> int:
    """``solofile extract``."""
    with Bundle.open(arguments.file) as bundle:
        only = frozenset(model_in(bundle, name).path for name in arguments.model) or None
        size = sum(bundle.part(path).size for path in only) if only else integrity.total_bytes(bundle)
        with Progress("Extracting", size) as shown:
            written = integrity.extract(bundle, arguments.folder, shown.update, only=only)
    count = f"{len(written)} file{'' if len(written) == 1 else 's'}"
    say(f"{arguments.folder}: {count}.", folder=str(arguments.folder), files=len(written))
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """``solofile demo``: builds the demo's bundle unless it is there, then becomes it."""
    output = Path.cwd() / DEMO_OUTPUT
    if not output.exists():
        recipe = shipped_recipe(DEMO_RECIPE)
        assert recipe is not None  # it is part of the package
        # For this machine alone: all kernels would take the compiler twice as long, for nothing that a demo shows.
        build_checked(replace(request_from(recipe), output=DEMO_OUTPUT, kernels="host"), None)
    Bundle.open(output).close()
    print(f"Starting {output}", file=sys.stderr, flush=True)
    command = [str(output), *arguments.arguments]
    if os.name == "posix":
        os.execv(output, command)
    return subprocess.run(command, check=False).returncode


def native_build(arguments: argparse.Namespace) -> int:
    """``solofile native build``."""
    from solofile.builder import native

    kernels, gpus = arguments.kernels or "all", arguments.gpu or "none"
    built = native.build(arguments.target, kernels=kernels, gpus=gpus, reference=arguments.reference)
    say(str(built.reference or built.folder), folder=str(built.folder))
    return 0


def self_build(arguments: argparse.Namespace) -> int:
    """``solofile self build``: with the packs given, else with the one that a build here would take."""
    from solofile.builder.inputs import python
    from solofile.builder.pack import find_or_build
    from solofile.builder.self_build import build_self

    python()  # or this is such an executable already
    packs = arguments.packs
    if not packs:
        kernels, gpus = arguments.kernels or "all", arguments.gpu or "none"
        with find_or_build(kernels=kernels, gpus=gpus) as pack:
            packs = [pack.path]
    built = build_self(arguments.output, packs, force=arguments.force)
    count = f"{built.packs} pack{'s' if built.packs > 1 else ''}"
    say(f"{built.path}: {byte_size(built.size)}, solofile with {count}.", built.path)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """``solofile doctor``."""
    from solofile.builder.doctor import doctor_command

    return doctor_command(arguments)


def requested(arguments: argparse.Namespace) -> BuildRequest:
    """The request for the recipe, the model or the several models that the command line names."""
    words: list[str] = arguments.input
    if len(words) == 1:
        return request_from(words[0], arguments.sha256, arguments.wheel_sha256)
    if arguments.sha256 or arguments.wheel_sha256:
        raise BadInput("--sha256 goes with one model: write several of them into a recipe, as [[models]].")
    requests = [request_from(word) for word in words]
    for word, request in zip(words, requests, strict=True):
        if request.recipe is not None:
            raise BadInput(f"The recipe {word} goes alone: write all models into one recipe, as [[models]].")
    sources = [request.source for request in requests]
    return BuildRequest(sources[0], models=tuple(OneModel(source) for source in sources))


def request_from(word: str | Path, sha256: str | None = None, wheel_sha256: str | None = None) -> BuildRequest:
    """The request that a recipe is, by path or by the name of one that ships with solofile; else that for a model."""
    path = Path(word)
    shipped = None if is_remote(str(word)) or path.exists() else shipped_recipe(path.name)
    if shipped is None and path.suffix != ".toml":
        return BuildRequest(model_source(str(word), sha256, wheel_sha256))
    if sha256 or wheel_sha256:
        raise BadInput(f"--sha256 goes with a model and not with a recipe: write it into {path}.")
    return BuildRequest(**vars(read_recipe(shipped or path)))


def overruled(request: BuildRequest, arguments: argparse.Namespace) -> BuildRequest:
    """``request`` with what the command line says; its default arguments are added behind the recipe's."""
    given = {
        "name": arguments.name,
        "title": arguments.title,
        "output": arguments.output,
        "targets": expanded(arguments.target),
        "kernels": arguments.kernels,
        "gpu": arguments.gpu,
        "backends": tuple(arguments.backend),
        "icon": arguments.icon,
        "projector": PathSource(arguments.mmproj) if arguments.mmproj else None,
        "split": arguments.split,
        "launcher": arguments.launcher,
        "format": arguments.format,
        "cosmo_python": arguments.cosmo_python,
    }
    if arguments.mmproj and request.models:
        raise BadInput("--mmproj goes with one model: write it into a recipe, as [models.projector].")
    changed = replace(request, force=arguments.force, **{key: value for key, value in given.items() if value})
    if arguments.no_stored_prompt:
        changed = replace(changed, store_prompt=False, prefix=())
    if arguments.system_prompt is not None:
        changed = replace(changed, system_prompt=text_of(arguments.system_prompt) or None)
    if arguments.greeting is not None:
        changed = replace(changed, greeting=text_of(arguments.greeting) or None)
    changed = with_model_work(changed, arguments)
    return replace(changed, arguments=(*request.arguments, *words_of(arguments.args or "")))


def build_checked(request: BuildRequest, pack: Path | None) -> Built:
    """Build, after a look at what the bundle would refuse at each start."""
    for words in (request.arguments, *(one.arguments for one in request.models)):
        check_arguments(words)
    built = build_bundle(request, lambda wanted: find_packs(wanted, pack))
    notes = list(built.notes)
    if not built.facts.chat_template:
        notes.append("The model has no chat template: it completes texts, and chats with it may make no sense.")
    if not any(model.license for model in built.manifest.models):
        notes.append("The model does not say its license: name it, and add its text, by [license] in a recipe.")
    for text in notes:
        Progress(built.path.name, None).note(f"solofile: {text}")
    return built


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse default arguments that the bundle would refuse at each start."""
    try:
        parse_options(arguments)
    except InputError as error:
        raise BadInput(f"The bundle's default arguments cannot be used: {error}") from error


def text_of(given: str) -> str:
    """A text, or the contents of the file behind an @."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is no UTF-8")
        raise BadInput(f"The text {given[1:]} cannot be read: {reason}.") from error


def words_of(given: str) -> list[str]:
    """A command line in one word, as the words that a shell would make of it."""
    try:
        return shlex.split(given)
    except ValueError as error:
        raise BadInput(f"The arguments {given!r} cannot be split into words ({error}): close the quotes.") from error
