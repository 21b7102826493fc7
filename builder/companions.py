"""What goes into a bundle along with its model: LoRA adapters, and a draft model that guesses ahead.

They lie in members of their own, and the bundle's default arguments name those as llama.cpp's options name files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import check_model
from solofile.builder.gguf_header import Header, HeaderCut, HeaderError, read_header
from solofile.builder.recipe import Adapter, Draft, Recipe
from solofile.builder.sources import Fetched, fetch, model_stem, safe_name
from solofile.builder.tools import ProgressMaker

VOCABULARY_DIFFERENCE = 128
"""Tokens by which llama.cpp lets the vocabularies of a model and its draft differ."""


@dataclass(frozen=True)
class Companion:
    """A file to put in at ``path``; ``arguments`` is what makes llama.cpp use it."""

    path: str
    fetched: Fetched
    arguments: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.fetched.path.stat().st_size


def companions_of(recipe: Recipe, model: Fetched, progress: ProgressMaker) -> tuple[Companion, ...]:
    """Fetch what a recipe wants to go along with ``model``, and see that it fits. Raises BadModel, BadSource."""
    if not recipe.adapters and recipe.draft is None:
        return ()
    header = _header(model.path, model.span)
    return (*_adapters(recipe.adapters, header, progress), *_draft(recipe.draft, header, progress))


def _adapters(adapters: Sequence[Adapter], model: Header, progress: ProgressMaker) -> Iterator[Companion]:
    names: set[str] = set()
    for adapter in adapters:
        fetched = fetch(adapter.source, progress)
        _check_adapter(fetched.path, _header(fetched.path), model)
        path = f"adapters/{_free(_safe(fetched.name), names)}.gguf"
        option = ("--lora", path) if adapter.scale == 1 else ("--lora-scaled", f"{path}:{adapter.scale:g}")
        yield Companion(path, fetched, option)


def _draft(draft: Draft | None, model: Header, progress: ProgressMaker) -> Iterator[Companion]:
    if draft is None:
        return
    fetched = fetch(draft.source, progress)
    check_model(fetched.path)
    _check_draft(fetched.path, _header(fetched.path), model)
    path = f"models/draft-{_safe(fetched.name)}.gguf"
    guesses = () if draft.tokens is None else ("--spec-draft-n-max", str(draft.tokens))
    use = ("--spec-draft-model", path, "--spec-type", "draft-simple")  # without the type it is loaded and not used
    yield Companion(path, fetched, (*use, *guesses))


def _header(path: Path, span: Span | None = None) -> Header:
    try:
        with open_raw(path) as file:
            return read_header(file, *(span or (0, None)))
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}.") from error
    except HeaderCut as error:
        raise BadModel(f"{path} is cut short: at least {error.missing} bytes are missing; get it again.") from error
    except HeaderError as error:
        raise BadModel(f"{path} cannot be used: {error}; name a GGUF file.") from error


def _check_adapter(path: Path, header: Header, model: Header) -> None:
    values = header.values
    if values.get("general.type") != "adapter" or values.get("adapter.type") != "lora":
        raise BadModel(f"{path} is no LoRA adapter: make one of it with llama.cpp's convert_lora_to_gguf.py.")
    own, wanted = values.get("general.architecture"), model.values.get("general.architecture")
    if own != wanted:
        raise BadModel(f"{path} is an adapter for {own} and not for {wanted}: name one for this model.")
    if header.end > path.stat().st_size:
        raise BadModel(f"{path} is cut short: get it again.")


def _check_draft(path: Path, header: Header, model: Header) -> None:
    """llama.cpp checks the words themselves when it loads them; this is what can be told without reading them."""
    kinds = [one.values.get("tokenizer.ggml.model") for one in (header, model)]
    counts = [one.arrays.get("tokenizer.ggml.tokens", 0) for one in (header, model)]
    if kinds[0] != kinds[1] or abs(counts[0] - counts[1]) > VOCABULARY_DIFFERENCE:
        raise BadModel(
            f"{path} has another vocabulary than the model ({counts[0]} tokens of {kinds[0]} beside {counts[1]} of "
            f"{kinds[1]}), so it cannot guess for it: take a small model of the same family."
        )


def _safe(name: str) -> str:
    return safe_name(model_stem(name))


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number behind it where it is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
