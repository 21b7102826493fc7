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

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solofile.builder.recipe_document import Document, load
from solofile.builder.recipe_keys import COMPANION_SOURCES, OPTIONS
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
class Recipe:
    """What a recipe says; None and empty stand for what it leaves to the build. Paths are resolved."""

    source: Source
    name: str | None = None
    title: str | None = None
    icon: Path | None = None
    version: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    license: str | None = None
    license_files: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()
    kernels: str = "all"
    gpu: str = "none"
    backends: tuple[Path, ...] = ()
    verified: bool | None = None
    draft: Draft | None = None
    adapters: tuple[Adapter, ...] = ()
    recipe: Path | None = field(default=None, compare=False)
    """The file that it was read from."""


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at ``path``. Raises BadRecipe, and UnknownName with the nearest known key for an unknown one."""
    return parse_recipe(load(path))


def parse_recipe(document: Document) -> Recipe:
    """The recipe that ``document`` is."""
    values = document.values
    return Recipe(
        source=source_of(_origin(document, "model", unknown=values.get("verified") is False)),
        draft=_draft(document),
        adapters=_adapters(document),
        name=values.get("name"),
        title=values.get("title"),
        icon=values.get("icon"),
        version=values.get("version"),
        system_prompt=_text(document, "system_prompt"),
        arguments=_arguments(document),
        license=values.get("license.spdx"),
        license_files=tuple(values.get("license.file", ())),
        targets=tuple(values.get("targets", ())),
        kernels=_names(values.get("kernels")) or "all",
        gpu=_names(values.get("gpu")) or "none",
        backends=tuple(values.get("backends", ())),
        verified=values.get("verified"),
        recipe=document.path,
    )


def _names(value: Any) -> str | None:
    """A text, or a list of texts as one with commas."""
    return ",".join(value) if isinstance(value, list) else value


def _text(document: Document, key: str) -> str | None:
    """A text, or the content of the file that the key with ``_file`` names."""
    text: str | None = document.values.get(key)
    file: Path | None = document.values.get(f"{key}_file")
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


def _arguments(document: Document) -> tuple[str, ...]:
    """The default arguments: those that have keys of their own come first."""
    values = document.values
    words = [word for key, option in OPTIONS.items() if key in values for word in (option, str(values[key]))]
    template = _text(document, "chat_template")
    if template is not None:
        words += ["--chat-template", template]
    return (*words, *values.get("arguments", ()))


def _origin(document: Document, table: str, *, unknown: bool = False) -> Origin:
    values = {key.rpartition(".")[2]: one for key, one in document.values.items() if key.startswith(f"{table}.")}
    return Origin(document.path, table, values, unknown)


def _draft(document: Document) -> Draft | None:
    origin = _origin(document, "draft")
    tokens = origin.values.get("tokens")
    return Draft(_companion(origin, "tokens"), tokens) if origin.values else None


def _adapters(document: Document) -> tuple[Adapter, ...]:
    origins = [Origin(document.path, "adapters", one) for one in document.values.get("adapters", ())]
    return tuple(Adapter(_companion(origin, "scale"), float(origin.values.get("scale", 1))) for origin in origins)


def _companion(origin: Origin, but: str) -> Source:
    """The source of what goes along with the model; ``but`` is a key that says something else."""
    values = {key: value for key, value in origin.values.items() if key != but}
    source = source_of(replace(origin, values=values), COMPANION_SOURCES)
    if isinstance(source, SplitSource):
        raise origin.error("file" if "hf" in values else "url", "is a part of a split file: name one that is whole")
    return source
