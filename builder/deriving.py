"""From the model that a recipe names to the one that goes into the bundle: converted, quantized, its metadata edited.

Each step's result is kept in the build cache under what it was made of, so that a second build finds it there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from solofile.builder import inputs
from solofile.builder.archive_writer import open_raw
from solofile.builder.converting import converted, is_convertible
from solofile.builder.copying import copy_plain
from solofile.builder.errors import BadSource
from solofile.builder.from_bundle import origin_of
from solofile.builder.gguf_check import check_model
from solofile.builder.gguf_edit import edited
from solofile.builder.known_hashes import digest_of
from solofile.builder.output import check_space, explained, replacing
from solofile.builder.paths import cache_folder
from solofile.builder.quantizing import Quantization, quantized
from solofile.builder.recipe import Recipe
from solofile.builder.sources import Fetched
from solofile.builder.tools import ProgressMaker
from solofile.runtime.manifest import Origin


def derived(fetched: Fetched, recipe: Recipe, progress: ProgressMaker) -> tuple[Fetched, Origin | None]:
    """What ``recipe`` makes of the model, and what it was made of; the model itself where it makes nothing.

    Raises BadModel, BadSource, UnknownName, BadInput, BuildError.
    """
    folder = is_convertible(fetched.path)
    if not (folder or recipe.quantize or recipe.metadata):
        return fetched, origin_of(recipe.source)
    name = fetched.name
    if folder:
        fetched, sha256 = converted(fetched, progress)
    else:
        check_model(fetched.path, fetched.span)
        sha256 = _checked_sha256(fetched, progress)
    origin = Origin(name, sha256, folder, None, None, (), inputs.LLAMA_CPP_COMMIT)
    if recipe.quantize:
        fetched, origin = _quantized(fetched, origin, recipe, progress)
    if recipe.metadata:
        key = digest_of(fetched.path, fetched.span, progress)
        path = edited(fetched.path, fetched.span, _as_file(fetched.name), key, recipe.metadata, progress)
        fetched = Fetched(path, None, fetched.name)
        origin = replace(origin, edited=tuple(dict.fromkeys(edit.key for edit in recipe.metadata)))
    return fetched, origin


def _checked_sha256(fetched: Fetched, progress: ProgressMaker) -> str:
    """The SHA-256 of the model, found to be what it must be."""
    found = digest_of(fetched.path, fetched.span, progress)
    if fetched.sha256 not in (None, found):
        raise BadSource(
            f"{fetched.path} is not the file that is meant: its SHA-256 is {found} in place of {fetched.sha256}."
        )
    return found


def _quantized(fetched: Fetched, origin: Origin, recipe: Recipe, progress: ProgressMaker) -> tuple[Fetched, Origin]:
    wish = Quantization(recipe.quantize or "", recipe.imatrix, recipe.allow_requantize)
    with _as_whole_file(fetched, progress) as model:
        facts = check_model(model)
        sha256 = origin.sha256 if not origin.converted else digest_of(model, None, progress)
        path, imatrix = quantized(model, sha256, facts, wish, progress)
    name = check_model(path).quantization
    return Fetched(path, None, path.name), replace(origin, quantized=name, imatrix=imatrix)


@contextlib.contextmanager
def _as_whole_file(fetched: Fetched, progress: ProgressMaker) -> Iterator[Path]:
    """The model as a file of its own, as llama.cpp's quantizer wants it: out of a bundle it is copied meanwhile."""
    if fetched.span is None:
        yield fetched.path
        return
    start, size = fetched.span
    path = cache_folder("taken") / _as_file(fetched.name)
    check_space(path, size)
    try:
        with (
            open_raw(fetched.path) as source,
            explained(path, size),
            progress(f"Copying {path.name}", size, "B") as shown,
            replacing(path) as output,
        ):
            copy_plain(source, start, size, output, 0, shown.update)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _as_file(name: str) -> str:
    return name if name.endswith(".gguf") else f"{name}.gguf"
