"""A recipe: the TOML file that says how one bundle is built. recipes/README.md has every key.

name = "smollm2-360m"                  # of the output: smollm2-360m.exe
title = "SmolLM2 360M Instruct"
verified = true                        # the file was fetched once, sha256 is what came
arguments = ["--reasoning-budget", "0"]

[model]                                # exactly one source: path, url, hf, wheel or bundle
hf = "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"
file = "smollm2-360m-instruct-q8_0.gguf"
sha256 = "…"

[license]
spdx = "apache-2.0"
file = "licenses/apache-2.0.txt"       # relative to the recipe, put into the bundle
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solofile.builder.metadata_edits import Edit, checked, flattened, named_edit
from solofile.builder.recipe_document import Document, load
from solofile.builder.recipe_keys import COMPANION_SOURCES, OPTIONS, SOURCES
from solofile.builder.recipe_sources import Origin, source_of
from solofile.builder.sources import Source, SplitSource


@dataclass(frozen=True)
class Draft:
    """A small model that guesses ahead, ``tokens`` at most; None for llama.cpp's own number."""

    source: Source
    tokens: int | None = None


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter, and how much of it is added to the model."""

    source: Source
    scale: float = 1.0


@dataclass(frozen=True)
class OneModel:
    """A model of a recipe with what is its own; ``name`` is what ``--use`` calls it."""

    source: Source
    name: str | None = None
    title: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    license: str | None = None
    license_files: tuple[Path, ...] = ()
    projector: Source | None = None


@dataclass(frozen=True)
class Recipe:
    """What a recipe says; None and empty stand for what it leaves to the build. Paths are resolved.

    ``models`` is empty where there is one model, which ``source`` is; of several, ``source`` is the first one's.
    """

    source: Source
    name: str | None = None
    title: str | None = None
    version: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    license: str | None = None
    license_files: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()
    kernels: str = "all"
    gpu: str = "none"
    backends: tuple[Path, ...] = ()
    format: str = "exe"
    cosmo_python: Path | None = None
    verified: bool | None = None
    draft: Draft | None = None
    adapters: tuple[Adapter, ...] = ()
    models: tuple[OneModel, ...] = ()
    projector: Source | None = None
    icon: Path | None = None
    greeting: str | None = None
    quantize: str | None = None
    imatrix: Path | None = None
    allow_requantize: bool = False
    metadata: tuple[Edit, ...] = ()
    prefix: tuple[Path, ...] = ()
    store_prompt: bool | None = None
    recipe: Path | None = field(default=None, compare=False)
    """The file that it was read from."""

    @property
    def each(self) -> tuple[OneModel, ...]:
        """Every model; where there is one, what is said of it is said of the bundle."""
        one = OneModel(
            self.source, license=self.license, license_files=self.license_files, projector=self.projector
        )  # fmt: skip
        return self.models or (one,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """All that is to be fetched or read: models, then what goes along with them."""
        several = [one.projector for one in self.each if one.projector is not None]
        drafts = [self.draft.source] if self.draft else []
        return (*(one.source for one in self.each), *several, *drafts, *(one.source for one in self.adapters))


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at ``path``. Raises BadRecipe, and UnknownName with the nearest known key for an unknown one."""
    return parse_recipe(load(path))


def parse_recipe(document: Document) -> Recipe:
    """The recipe that ``document`` is."""
    values = document.values
    models = _models(document)
    return Recipe(
        source=models[0].source if models else source_of(_origin(document, "model")),
        draft=_draft(document),
        adapters=_adapters(document),
        models=models,
        projector=_projector(_origin(document, "projector")),
        name=values.get("name"),
        title=values.get("title"),
        version=values.get("version"),
        system_prompt=_text(document, values, "system_prompt"),
        arguments=_arguments(document, values),
        license=values.get("license.spdx"),
        license_files=tuple(values.get("license.file", ())),
        targets=tuple(values.get("targets", ())),
        kernels=_names(values.get("kernels")) or "all",
        gpu=_names(values.get("gpu")) or "none",
        backends=tuple(values.get("backends", ())),
        format=values.get("format", "exe"),
        cosmo_python=values.get("cosmo_python"),
        verified=values.get("verified"),
        icon=values.get("icon"),
        greeting=values.get("greeting"),
        quantize=values.get("quantize"),
        imatrix=values.get("imatrix"),
        allow_requantize=values.get("allow_requantize", False),
        metadata=_metadata(document),
        prefix=tuple(values.get("prefix", ())),
        store_prompt=values.get("store_prompt"),
        recipe=document.path,
    )


def _models(document: Document) -> tuple[OneModel, ...]:
    """The models of ``[[models]]``. Raises BadRecipe where the recipe also speaks of the one model."""
    entries = document.values.get("models", ())
    if not entries:
        return ()
    for table in ("model", "projector", "draft", "adapters"):
        if table in document.values or any(key.startswith(f"{table}.") for key in document.values):
            remedy = "[models.projector]" if table == "projector" else "a recipe for each model"
            remedy = "one [[models]] for each" if table == "model" else remedy
            raise document.error(table, f"does not go with [[models]], which has several: write {remedy}")
    return tuple(_one_model(document, values) for values in entries)


def _one_model(document: Document, values: Mapping[str, Any]) -> OneModel:
    known = {*SOURCES, *(key for keys in SOURCES.values() for key in keys)}
    unknown = document.values.get("verified") is False
    origin = Origin(document.path, "models", {key: one for key, one in values.items() if key in known}, unknown)
    inner = Origin(document.path, "models.projector", _inside(values.items(), "projector"), unknown)
    return OneModel(
        source=source_of(origin),
        name=values.get("name"),
        title=values.get("title"),
        system_prompt=_text(document, values, "system_prompt"),
        arguments=_arguments(document, values),
        license=values.get("license.spdx", document.values.get("license.spdx")),
        license_files=tuple(values.get("license.file", document.values.get("license.file", ()))),
        projector=_projector(inner),
    )


def _names(value: Any) -> str | None:
    """A text, or a list of texts as one with commas."""
    return ",".join(value) if isinstance(value, list) else value


def _text(document: Document, values: Mapping[str, Any], key: str) -> str | None:
    """A text among ``values``, or the content of the file that the key with ``_file`` names."""
    text: str | None = values.get(key)
    file: Path | None = values.get(f"{key}_file")
    if file is None:
        return text
    if text is not None:
        raise document.error(key, f"and {key}_file say the same thing: give one of them")
    try:
        return file.read_text("utf-8").strip() or None
    except OSError as error:
        raise document.error(f"{key}_file", f"names {file}, which cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise document.error(f"{key}_file", f"names {file}, which is no UTF-8 text") from error


def _arguments(document: Document, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The default arguments: those that have keys of their own come first."""
    words = [word for key, option in OPTIONS.items() if key in values for word in (option, str(values[key]))]
    template = _text(document, values, "chat_template")
    if template is not None:
        words += ["--chat-template", template]
    return (*words, *values.get("arguments", ()))


def _inside(values: Iterable[tuple[str, Any]], table: str) -> dict[str, Any]:
    return {key.rpartition(".")[2]: one for key, one in values if key.startswith(f"{table}.")}


def _metadata(document: Document) -> tuple[Edit, ...]:
    """The changes of the model's metadata; what is to go comes last."""
    changed = (named_edit(name, value) for name, value in flattened(document.values.get("metadata", {})))
    return (*changed, *(Edit(checked(key), None) for key in document.values.get("remove_metadata", ())))


def _origin(document: Document, table: str) -> Origin:
    """A table; of a recipe that is not verified the SHA-256 of what is run may be missing."""
    unknown = document.values.get("verified") is False and table in ("model", "projector")
    return Origin(document.path, table, _inside(document.values.items(), table), unknown)


def _projector(origin: Origin) -> Source | None:
    return _companion(origin) if origin.values else None


def _draft(document: Document) -> Draft | None:
    origin = _origin(document, "draft")
    tokens = origin.values.get("tokens")
    return Draft(_companion(origin, "tokens"), tokens) if origin.values else None


def _adapters(document: Document) -> tuple[Adapter, ...]:
    origins = [Origin(document.path, "adapters", one) for one in document.values.get("adapters", ())]
    return tuple(Adapter(_companion(origin, "scale"), float(origin.values.get("scale", 1))) for origin in origins)


def _companion(origin: Origin, but: str = "") -> Source:
    """The source of what goes along with the model; ``but`` is a key that says something else."""
    values = {key: value for key, value in origin.values.items() if key != but}
    source = source_of(replace(origin, values=values), COMPANION_SOURCES)
    if isinstance(source, SplitSource):
        raise origin.error("file" if "hf" in values else "url", "is a part of a split file: name one that is whole")
    return source
