"""The models of a build: fetched, judged, and what the manifest says of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.deriving import derived
from solofile.builder.errors import BadInput, BadModel, BadRecipe
from solofile.builder.from_bundle import license_of
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.gguf_header import Header, HeaderCut, HeaderError, Value, read_header
from solofile.builder.model_trial import try_model
from solofile.builder.progress import Progress
from solofile.builder.recipe import OneModel, Recipe
from solofile.builder.sources import BundleSource, Fetched, fetch, model_stem, safe_name
from solofile.builder.splits import joined
from solofile.builder.tools import ProgressMaker
from solofile.runtime.manifest import Model

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")

_UBATCH = 512
"""Tokens of a prompt that are computed together; what is computed in grows with them."""

_MASK = 1024
"""Bytes that a token of context takes in the mask of such a batch, with 16 bits a place."""


@dataclass(frozen=True)
class Chosen:
    """A model that was fetched and found good, and the texts of its license."""

    model: Model
    fetched: Fetched
    facts: ModelFacts
    licenses: tuple[bytes, ...]
    notes: tuple[str, ...] = ()
    """What whoever builds should know of it, as sentences."""


def choose_models(recipe: Recipe, progress: ProgressMaker = Progress) -> tuple[Chosen, ...]:
    """Fetch and judge each of the recipe's models, and make of it what the recipe says.

    Raises BadInput, BadModel, BadSource, BuildError.
    """
    models = recipe.each
    terms = [_license(one) for one in models]  # before gigabytes come
    chosen: list[Chosen] = []
    for one, (spdx, texts) in zip(models, terms, strict=True):
        fetched = joined(fetch(one.source, progress), progress)
        fetched, origin = derived(fetched, replace(recipe, source=one.source), progress)
        facts = check_model(fetched.path, fetched.span)
        notes = try_model(fetched.path, fetched.span, (*recipe.arguments, *one.arguments), progress)
        model = _with_own(model_entry(facts, Path(fetched.name), spdx), one, several=len(models) > 1)
        model = replace(with_memory(model, fetched), origin=origin)
        if model.name in (other.model.name for other in chosen):
            raise BadInput(
                f"Two models would be called {model.name}: rename a file, or give names in a recipe's [[models]]."
            )
        chosen.append(Chosen(model, fetched, facts, texts, notes))
    return tuple(chosen)


def default_of(models: Sequence[Model]) -> Model:
    """The one that a bundle calls its own choice: the largest."""
    return max(models, key=lambda model: model.size)


def license_texts(name: str, chosen: Sequence[Chosen]) -> dict[str, bytes]:
    """The texts by their place in the bundle called ``name``; one that several models share is there once."""
    texts: dict[str, bytes] = {}
    for one in chosen:
        stem = f"LICENSES/model-{name if len(chosen) == 1 else one.model.name}"
        for number, text in enumerate(one.licenses, 1):
            if text not in texts.values():
                texts[f"{stem}{'' if number == 1 else f'-{number}'}.txt"] = text
    return texts


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
        title=facts.name,
    )


def checked_name(name: str) -> str:
    """``name``, if a bundle or a model can have it. Raises BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"The name “{name}” cannot be used: take at most 100 letters, digits and . _ + -, "
            "beginning with a letter or a digit."
        )
    return name


def _with_own(model: Model, one: OneModel, *, several: bool) -> Model:
    """What is said of one of several models; what is said of the only one is said of the bundle."""
    if not several:
        return replace(model, title=None)
    if one.name is not None:
        model = replace(model, name=checked_name(one.name), path=f"models/{one.name}.gguf")
    return replace(model, title=one.title or model.title, system_prompt=one.system_prompt, arguments=one.arguments)


def with_memory(model: Model, fetched: Fetched) -> Model:
    """``model`` with what it takes of the memory beside its weights."""
    token, compute = memory_facts(header_of(fetched.path, fetched.span).values, model.architecture)
    return replace(model, token_bytes=token, compute_bytes=compute)


def header_of(path: Path, span: Span | None = None) -> Header:
    """The header of the GGUF at ``path``, or in that ``span`` of the file. Raises BadModel."""
    try:
        with open_raw(path) as file:
            return read_header(file, *(span or (0, None)))
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}.") from error
    except HeaderCut as error:
        raise BadModel(f"{path} is cut short: at least {error.missing} bytes are missing; get it again.") from error
    except HeaderError as error:
        raise BadModel(f"{path} cannot be used: {error}; name a GGUF file.") from error


def memory_facts(values: dict[str, Value], architecture: str) -> tuple[int, int]:
    """Bytes that a token of context takes, and the buffers to compute in: rather too many than too few.

    Keys and values of 16 bits in every layer; layers that look back a limited way only, or share heads in numbers of
    their own, take less. The buffers hold what a batch is between two matrices: about three times its inner and four
    times its outer width, as measured with llama.cpp 0.5.0, here a little more.
    """

    def number(key: str, usual: int = 0) -> int:
        value = values.get(f"{architecture}.{key}", usual)
        return value if isinstance(value, int) and 0 <= value < 1 << 31 else usual

    layers, width, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    shared = number("attention.head_count_kv", heads)
    head = width // heads if heads else 0
    kv = 2 * layers * shared * (number("attention.key_length", head) + number("attention.value_length", head))
    inner = max(
        number("feed_forward_length"), number("expert_feed_forward_length") * max(1, number("expert_used_count", 1))
    )
    compute = 4 * _UBATCH * (4 * inner + 6 * width)
    return (kv + _MASK, compute) if kv else (0, compute)


def _license(one: OneModel) -> tuple[str | None, tuple[bytes, ...]]:
    """The license's name and its texts; a bundle's model brings its own."""
    spdx, texts = one.license, tuple(_read_license(file) for file in one.license_files)
    if isinstance(one.source, BundleSource):
        old_spdx, old_texts = license_of(one.source)
        spdx, texts = spdx or old_spdx, texts or tuple(old_texts.values())
    return spdx, texts


def _read_license(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRecipe(f"The license text {file} cannot be read: {error.strerror}.") from error
