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

import urllib.parse
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from solofile.builder.errors import BadRecipe
from solofile.builder.recipe_document import Document, load
from solofile.builder.recipe_keys import OPTIONS, SOURCES
from solofile.builder.sources import (
    BundleSource,
    HubSource,
    PathSource,
    Source,
    SplitSource,
    UrlSource,
    WheelSource,
    part_names,
)


@dataclass(frozen=True)
class Recipe:
    """What a recipe says; None and empty stand for what it leaves to the build. Paths are resolved."""

    source: Source
    name: str | None = None
    title: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    license: str | None = None
    license_files: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()
    kernels: str = "all"
    gpu: str = "none"
    backends: tuple[Path, ...] = ()
    verified: bool | None = None
    recipe: Path | None = field(default=None, compare=False)
    """The file that it was read from."""


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at ``path``. Raises BadRecipe, and UnknownName with the nearest known key for an unknown one."""
    return parse_recipe(load(path))


def parse_recipe(document: Document) -> Recipe:
    """The recipe that ``document`` is."""
    values = document.values
    return Recipe(
        source=source_of(document),
        name=values.get("name"),
        title=values.get("title"),
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


def source_of(document: Document) -> Source:
    """The source that the table ``model`` names, with what goes along. Raises BadRecipe."""
    table = {key.partition(".")[2]: value for key, value in document.values.items() if key.startswith("model.")}
    named = [key for key in SOURCES if key in table]
    if len(named) != 1:
        *most, last = (f"model.{key}" for key in SOURCES)
        raise BadRecipe(
            f"The recipe {document.path} must name one of {', '.join(most)} and {last}; "
            f"it names {' and '.join(named) or 'none'}."
        )
    kind = named[0]
    for key in table:
        if key != kind and key not in SOURCES[kind]:
            raise document.error(f"model.{key}", f"does not go with model.{kind}: remove it")
    if kind == "path":
        return PathSource(table["path"], _digest(document, table, needed=False), _size(document, table))
    if kind == "bundle":
        return BundleSource(table["bundle"], table.get("member"))
    if kind == "wheel":
        return _wheel(document, table)
    return _remote(document, table)


def _wheel(document: Document, table: dict[str, Any]) -> WheelSource:
    if "wheel_sha256" not in table and document.values.get("verified") is not False:
        raise document.error("model.wheel_sha256", "is missing")
    if "member" not in table:
        raise document.error("model.member", "is missing")
    sha256, wheel_sha256 = _digest(document, table), table.get("wheel_sha256")
    lower = wheel_sha256.lower() if wheel_sha256 else None
    return WheelSource(table["wheel"], lower, table["member"], sha256, _size(document, table))


def _remote(document: Document, table: dict[str, Any]) -> Source:
    """A URL or a file of a hub; all parts where its name says that it is one of several."""
    if "hf" in table and "file" not in table:
        raise document.error("model.file", "is missing")
    whole: UrlSource | HubSource
    if "hf" in table:
        if table["hf"].count("/") != 1:
            raise document.error("model.hf", "must be owner/name")
        whole = HubSource(table["hf"], table["file"], table.get("revision", "main"))
    else:
        whole = UrlSource(table["url"], None)
    parts = split_parts(whole)
    if len(parts) < 2:
        return replace(whole, sha256=_digest(document, table), size=_size(document, table))
    digests = _each(document, table, "sha256", len(parts))
    if digests[0] is None:
        _digest(document, table)  # says that it is missing, where it may not be
    sizes = _each(document, table, "size", len(parts))
    return SplitSource(
        tuple(
            replace(part, sha256=digest.lower() if digest else None, size=size)
            for part, digest, size in zip(parts, digests, sizes, strict=True)
        )
    )


def split_parts(source: UrlSource | HubSource) -> list[UrlSource | HubSource]:
    """All parts of the split model that ``source`` is one part of; ``source`` itself where it is whole."""
    if isinstance(source, HubSource):
        folder, slash, name = source.file.rpartition("/")
        names = part_names(name)
        return [replace(source, file=f"{folder}{slash}{one}") for one in names] or [source]
    parts = urllib.parse.urlsplit(source.url)
    path = PurePosixPath(urllib.parse.unquote(parts.path))
    names = part_names(path.name)
    paths = (urllib.parse.quote(str(path.with_name(one))) for one in names)
    return [UrlSource(parts._replace(path=one).geturl(), None) for one in paths] or [source]


def _each(document: Document, table: dict[str, Any], key: str, count: int) -> list[Any]:
    """The values of a key for each part of a split model, None where it is not given."""
    value = table.get(key)
    if value is None:
        return [None] * count
    if not isinstance(value, list) or len(value) != count:
        raise document.error(f"model.{key}", f"must be a list of {count}, one for each part of the model")
    return value


def _digest(document: Document, table: dict[str, Any], *, needed: bool = True) -> str | None:
    """The SHA-256 of the one file; it may be missing only from a recipe that calls itself not verified."""
    value = table.get("sha256")
    if isinstance(value, list):
        raise document.error("model.sha256", "must be one SHA-256: the model is not split")
    if value is None and needed and document.values.get("verified") is not False:
        remedy = "give it, or write verified = false and let “solofile recipe pin” record it"
        raise document.error("model.sha256", f"is missing: {remedy}")
    return value.lower() if value else None


def _size(document: Document, table: dict[str, Any]) -> int | None:
    value: int | list[int] | None = table.get("size")
    if isinstance(value, list):
        raise document.error("model.size", "must be one number: the model is not split")
    return value
