"""Has llama.cpp itself try a model before it is put into a bundle: its vocabulary, its layout, its chat template.

What a model's header has passed once is remembered, so that a second build of it starts no process.

<build cache>/tried/<key>.json
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

from solofile.builder import inputs, native
from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.child import ChildFailure, run_child
from solofile.builder.errors import BadModel, BuildError
from solofile.builder.gguf_header import TEMPLATE, Header, HeaderCut, HeaderError, read_header
from solofile.builder.output import replacing
from solofile.builder.paths import build_cache, cache_folder
from solofile.builder.progress import Progress, ticking
from solofile.builder.template_trial import Trial, try_template
from solofile.builder.tools import ProgressMaker
from solofile.runtime.errors import InputError
from solofile.runtime.options import parse as parse_options

RULES = 1
"""Counted up when more is tried."""

SECONDS = 120.0
"""What llama.cpp may take; with the largest vocabularies it takes some, on a busy machine."""

KEPT = 256
_CHUNK = 1 << 20


def try_model(
    path: Path, span: Span | None, arguments: Sequence[str], progress: ProgressMaker = Progress
) -> tuple[str, ...]:
    """What is to be said of the model at ``path``, or of that ``span`` of the file there, as sentences.

    ``arguments`` are the bundle's, which may name another chat template. Raises BadModel.
    """
    libraries = native.libraries_folder()
    header, start, size, digest = _read(path, span)
    with ticking(f"Trying {path.name}", progress):
        notes = [*_layout(path, start, size, digest, libraries)]
        template, whose = _template(header, arguments)
        if template is not None:
            notes += _template_notes(path, template, whose, libraries)
    return tuple(notes)


def _read(path: Path, span: Span | None) -> tuple[Header, int, int, str]:
    """The header of a model, where the model lies in the file, and the SHA-256 of its header."""
    try:
        with open_raw(path) as file:
            start, size = span or (0, file.seek(0, io.SEEK_END))
            header = read_header(file, start, size)
            digest, left = hashlib.sha256(), header.data_offset
            file.seek(start)
            while left and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
            return header, start, size, digest.hexdigest()
    except (HeaderCut, HeaderError) as error:  # it was sound a moment ago
        raise BadModel(f"The model {path} changed while it was read: build again once it is whole.") from error


def _layout(path: Path, start: int, size: int, digest: str, libraries: Path | None) -> list[str]:
    if libraries is None:
        return ["llama.cpp has not tried the model: its libraries are not in the build cache."]
    key = _key("layout", digest, str(size))
    if _known(key) is None:
        job = {"libraries": str(libraries), "file": str(path), "start": start, "size": size}
        try:
            run_child("layout", job, seconds=SECONDS)
        except ChildFailure as failure:
            if failure.unusable:
                return [f"llama.cpp has not tried the model: {failure}."]
            raise BadModel(
                f"llama.cpp cannot load {path} ({failure}): get it again, or convert the model again with a current "
                "llama.cpp."
            ) from failure
        _remember(key, [])
    return []


def _template(header: Header, arguments: Sequence[str]) -> tuple[str | None, str]:
    """The Jinja text that the bundle will use, None for none or one that llama.cpp has by name; and whose it is."""
    try:
        given = {name: one.values for one in parse_options(arguments) for name in one.option.spellings}
    except InputError:  # said by whoever checks the arguments
        given = {}
    named = given.get("--chat-template")
    if "--chat-template-file" in given or (named and "{" not in named[0]):
        return None, ""
    if named:
        return named[0], "The chat template that is given"
    own = header.values.get(TEMPLATE)
    return (own if isinstance(own, str) and own else None), "Its chat template"


def _template_notes(path: Path, template: str, whose: str, libraries: Path | None) -> list[str]:
    key = _key("template", hashlib.sha256(template.encode("utf-8", "replace")).hexdigest(), str(libraries is None))
    lacks = _known(key)
    if lacks is None:
        trial = try_template(template, libraries)
        _raise_problem(path, trial, whose)
        if not trial.tried:
            return [f"{whose} has not been tried: neither llama.cpp's libraries nor the package jinja2 are here."]
        lacks = list(trial.lacks)
        _remember(key, lacks)
    return [f"{whose} knows nothing of {' and '.join(lacks)}."] if lacks else []


def _raise_problem(path: Path, trial: Trial, whose: str) -> None:
    if trial.problem is not None:
        what = "chat_template of a recipe, or --args “--chat-template …”"
        raise BadModel(f"{whose} cannot be used with {path} ({trial.problem}): give another one by {what}.")


def _key(*facts: str) -> str:
    return hashlib.sha256(json.dumps([RULES, inputs.LLAMA_CPP_COMMIT, *facts]).encode()).hexdigest()


def _known(key: str) -> list[str] | None:
    try:
        found = json.loads((build_cache() / "tried" / f"{key}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _remember(key: str, lacks: list[str]) -> None:
    with contextlib.suppress(OSError, BuildError):  # a cache that cannot be written costs the next build time, no more
        folder = cache_folder("tried")
        with replacing(folder / f"{key}.json") as file:
            file.write(json.dumps(lacks).encode() + b"\n")
        entries = sorted(folder.glob("*.json"), key=lambda one: one.stat().st_mtime, reverse=True)
        for one in entries[KEPT:]:
            one.unlink(missing_ok=True)
