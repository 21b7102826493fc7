"""What goes into a bundle along with its models: LoRA adapters, a draft model that guesses ahead, projectors.

They lie in members of their own, and the default arguments of the bundle, or of one of several models, name those as
llama.cpp's options name files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solofile.builder.chosen_models import Chosen, header_of
from solofile.builder.errors import BadModel
from solofile.builder.gguf_check import check_model
from solofile.builder.gguf_header import Header
from solofile.builder.recipe import Adapter, Draft, Recipe
from solofile.builder.sources import Fetched, Source, fetch, model_stem, safe_name
from solofile.builder.tools import ProgressMaker
from solofile.runtime.manifest import Model

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


def with_companions(
    recipe: Recipe, chosen: Sequence[Chosen], progress: ProgressMaker
) -> tuple[tuple[Chosen, ...], tuple[Companion, ...]]:
    """Fetch what a recipe wants to go along with its models, and see that it fits. Raises BadModel, BadSource.

    Of several models each gets the arguments that make llama.cpp use what is its own.
    """
    projectors = _projectors(recipe, chosen, progress)
    if len(chosen) > 1:
        made = tuple(replace(one, model=_naming(one.model, projectors.get(one.model.path))) for one in chosen)
        return made, tuple({one.path: replace(one, arguments=()) for one in projectors.values()}.values())
    found = list(projectors.values())
    if recipe.adapters or recipe.draft is not None:
        header = header_of(chosen[0].fetched.path, chosen[0].fetched.span)
        found += [*_adapters(recipe.adapters, header, progress), *_draft(recipe.draft, header, progress)]
    return tuple(chosen), tuple(found)


def _naming(model: Model, companion: Companion | None) -> Model:
    return replace(model, arguments=(*companion.arguments, *model.arguments)) if companion else model


def _projectors(recipe: Recipe, chosen: Sequence[Chosen], progress: ProgressMaker) -> dict[str, Companion]:
    """The projectors by the paths of their models; one that several name is in the bundle once."""
    made: dict[Source, Companion] = {}
    found: dict[str, Companion] = {}
    names: set[str] = {one.model.name.removeprefix("mmproj-") for one in chosen if one.model.name.startswith("mmproj-")}
    for one, of in zip(recipe.each, chosen, strict=True):
        if one.projector is None:
            continue
        if one.projector not in made:
            fetched = fetch(one.projector, progress)
            path = f"models/mmproj-{_free(_safe(fetched.name).removeprefix('mmproj-'), names)}.gguf"
            made[one.projector] = Companion(path, fetched, ("--mmproj", path))
        file = made[one.projector].fetched.path
        check_projector(file, header_of(file), header_of(of.fetched.path, of.fetched.span))
        found[of.model.path] = made[one.projector]
    return found


def _adapters(adapters: Sequence[Adapter], model: Header, progress: ProgressMaker) -> Iterator[Companion]:
    names: set[str] = set()
    for adapter in adapters:
        fetched = fetch(adapter.source, progress)
        _check_adapter(fetched.path, header_of(fetched.path), model)
        path = f"adapters/{_free(_safe(fetched.name), names)}.gguf"
        option = ("--lora", path) if adapter.scale == 1 else ("--lora-scaled", f"{path}:{adapter.scale:g}")
        yield Companion(path, fetched, option)


def _draft(draft: Draft | None, model: Header, progress: ProgressMaker) -> Iterator[Companion]:
    if draft is None:
        return
    fetched = fetch(draft.source, progress)
    check_model(fetched.path)
    _check_draft(fetched.path, header_of(fetched.path), model)
    path = f"models/draft-{_safe(fetched.name)}.gguf"
    guesses = () if draft.tokens is None else ("--spec-draft-n-max", str(draft.tokens))
    use = ("--spec-draft-model", path, "--spec-type", "draft-simple")  # without the type it is loaded and not used
    yield Companion(path, fetched, (*use, *guesses))


def check_projector(path: Path, header: Header, model: Header) -> None:
    """Is it a projector, whole, and as wide as the model? Raises BadModel."""
    values = header.values
    if values.get("general.architecture") != "clip":
        raise BadModel(f"{path} is no projector (its architecture is {values.get('general.architecture')}): "
                       "name the file that is called mmproj-….gguf where the model comes from.")  # fmt: skip
    if header.end > path.stat().st_size:
        raise BadModel(f"{path} is cut short: get it again.")
    wide = model.values.get(f"{model.values.get('general.architecture')}.embedding_length")
    for kind in ("vision", "audio"):
        own = values.get(f"clip.{kind}.projection_dim")
        if own is not None and wide is not None and own != wide:
            raise BadModel(f"{path} is for a model of width {own} and not of {wide}: name the one of this model.")


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
