"""The sources that a recipe's tables name: ``model``, ``draft`` and each of ``adapters``."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from solofile.builder.errors import BadRecipe
from solofile.builder.recipe_keys import SOURCES
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

_PINNED = ("model", "models", "projector", "models.projector")
"""The tables whose files “solofile recipe pin” fetches."""


@dataclass(frozen=True)
class Origin:
    """A table that names a source: ``place`` is what the recipe at ``path`` calls it, ``values`` what is in it.

    ``unknown`` says that the SHA-256 may be missing: the recipe calls itself not verified.
    """

    path: Path
    place: str
    values: Mapping[str, Any]
    unknown: bool = False

    def error(self, key: str, problem: str) -> BadRecipe:
        """The error that says what is wrong with a key."""
        return BadRecipe(f"In the recipe {self.path}, {self.place}.{key} {problem}.")


def source_of(origin: Origin, kinds: Mapping[str, tuple[str, ...]] = SOURCES) -> Source:
    """The source that a table names, one of ``kinds``, with what goes along. Raises BadRecipe."""
    table = origin.values
    named = [key for key in kinds if key in table]
    if len(named) != 1:
        *most, last = (f"{origin.place}.{key}" for key in kinds)
        raise BadRecipe(
            f"The recipe {origin.path} must name one of {', '.join(most)} and {last}; "
            f"it names {' and '.join(named) or 'none'}."
        )
    kind = named[0]
    for key in table:
        if key != kind and key not in kinds[kind]:
            raise origin.error(key, f"does not go with {origin.place}.{kind}: remove it")
    if kind == "path":
        return PathSource(table["path"], _digest(origin, needed=False), _size(origin))
    if kind == "bundle":
        return BundleSource(table["bundle"], table.get("member"))
    return _wheel(origin) if kind == "wheel" else _remote(origin)


def _wheel(origin: Origin) -> WheelSource:
    table = origin.values
    if "wheel_sha256" not in table and not origin.unknown:
        raise origin.error("wheel_sha256", "is missing")
    if "member" not in table:
        raise origin.error("member", "is missing")
    sha256, wheel_sha256 = _digest(origin), table.get("wheel_sha256")
    lower = wheel_sha256.lower() if wheel_sha256 else None
    return WheelSource(table["wheel"], lower, table["member"], sha256, _size(origin))


def _remote(origin: Origin) -> Source:
    """A URL or a file of a hub; all parts where its name says that it is one of several."""
    table = origin.values
    if "hf" in table and "file" not in table:
        raise origin.error("file", "is missing")
    whole: UrlSource | HubSource
    if "hf" in table:
        if table["hf"].count("/") != 1:
            raise origin.error("hf", "must be owner/name")
        whole = HubSource(table["hf"], table["file"], table.get("revision", "main"))
    else:
        whole = UrlSource(table["url"], None)
    parts = split_parts(whole)
    if len(parts) < 2:
        return replace(whole, sha256=_digest(origin), size=_size(origin))
    digests = _each(origin, "sha256", len(parts))
    if digests[0] is None:
        _digest(origin)  # says that it is missing, where it may not be
    sizes = _each(origin, "size", len(parts))
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


def _each(origin: Origin, key: str, count: int) -> list[Any]:
    """The values of a key for each part of a split model, None where it is not given."""
    value = origin.values.get(key)
    if value is None:
        return [None] * count
    if not isinstance(value, list) or len(value) != count:
        raise origin.error(key, f"must be a list of {count}, one for each part of the model")
    return value


def _digest(origin: Origin, *, needed: bool = True) -> str | None:
    """The SHA-256 of the one file; it may be missing only from a recipe that calls itself not verified."""
    value = origin.values.get("sha256")
    if isinstance(value, list):
        raise origin.error("sha256", "must be one SHA-256: the model is not split")
    if value is None and needed and not origin.unknown:
        remedy = (
            ", or write verified = false and let “solofile recipe pin” record it" if origin.place in _PINNED else ""
        )
        raise origin.error("sha256", f"is missing: give it{remedy}")
    return value.lower() if value else None


def _size(origin: Origin) -> int | None:
    value: int | list[int] | None = origin.values.get("size")
    if isinstance(value, list):
        raise origin.error("size", "must be one number: the model is not split")
    return value
