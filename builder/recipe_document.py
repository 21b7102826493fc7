"""Reads recipes as data: TOML, every key known and of its type, paths resolved, ``extends`` followed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from solofile.builder.errors import BadRecipe
from solofile.builder.recipe_keys import KEYS, KINDS, LISTS, NESTED, NOT_YET, OPEN, SOURCES, TABLES
from solofile.runtime.errors import UnknownName, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_KNOWN = {key.name: key for key in KEYS}
_EXCLUSIVE = (("system_prompt", "system_prompt_file"), ("chat_template", "chat_template_file"))
_OF_ITS_MODEL = (
    *("verified", "chat_template", "chat_template_file", "adapters", "models"),
    *("quantize", "imatrix", "allow_requantize", "metadata", "remove_metadata"),
)
"""What an extended recipe says of its own model: it does not hold for another one."""


@dataclass(frozen=True)
class Document:
    """The values of a recipe by key (``model.path``), with those of what it extends; paths are of type Path."""

    path: Path
    values: Mapping[str, Any]
    extends: tuple[Path, ...] = ()

    def error(self, key: str, problem: str) -> BadRecipe:
        """The error that says what is wrong with a key."""
        return BadRecipe(f"In the recipe {self.path}, {key} {problem}.")


def shipped_folder() -> Path:
    """Where the recipes are that come with solofile."""
    return Path(str(files("solofile.recipes")))


def shipped_recipe(name: str) -> Path | None:
    """The recipe of that name (with or without .toml) that comes with solofile."""
    if "/" in name or "\\" in name:
        return None
    path = shipped_folder() / f"{name.removesuffix('.toml')}.toml"
    return path if path.is_file() else None


def shipped_names() -> list[str]:
    """The names of all recipes that come with solofile."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


def load(path: Path) -> Document:
    """Read the recipe at ``path``. Raises BadRecipe, and UnknownName with the nearest known key for an unknown one."""
    return _load(path, ())


def load_text(text: str, path: Path) -> dict[str, Any]:
    """The TOML of a recipe as it stands there. Raises BadRecipe."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"The recipe {path} is no TOML: {error}.") from error
    return document


def read_text(path: Path) -> str:
    """The text of a recipe. Raises BadRecipe."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise BadRecipe(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadRecipe(f"The recipe {path} is no UTF-8 text: save it as UTF-8.") from error


def _load(path: Path, below: tuple[Path, ...]) -> Document:
    if path.resolve() in (one.resolve() for one in below):
        circle = " → ".join(str(one) for one in (*below, path))
        raise BadRecipe(f"The recipe {below[0]} extends itself ({circle}): take one “extends” out.")
    values = dict(_checked(load_text(read_text(path), path), path))
    base = values.pop("extends", None)
    if base is None:
        return Document(path, values)
    parent = _load(_find_base(base, path), (*below, path))
    return Document(path, merged(parent.values, values), (parent.path, *parent.extends))


def _find_base(base: str, path: Path) -> Path:
    if base.endswith(".toml"):
        return path.parent / base
    found = shipped_recipe(base)
    if found is None:
        raise UnknownName("recipe", base, shipped_names(), where=f"“extends” of the recipe {path}")
    return found


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe that extends another one: its own win, and its arguments come behind the other's."""
    kept = dict(parent)
    if "models" in child or any(f"model.{source}" in child for source in SOURCES):
        kept = {
            key: value
            for key, value in kept.items()
            if not key.startswith(("model.", "draft.", "license.", "projector.")) and key not in _OF_ITS_MODEL
        }
    for pair in _EXCLUSIVE:
        if any(key in child for key in pair):
            kept = {key: value for key, value in kept.items() if key not in pair}
    values = kept | dict(child)
    if "arguments" in kept and "arguments" in child:
        values["arguments"] = [*kept["arguments"], *child["arguments"]]
    return values


def _checked(raw: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Each key with its value, both found good."""
    for name, value in raw.items():
        if name in LISTS:
            if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
                raise BadRecipe(f"In the recipe {path}, {name} must be tables, each headed [[{name}]].")
            yield name, [dict(_entry(name, one, path)) for one in value]
        elif name in OPEN:
            if not isinstance(value, dict):
                raise BadRecipe(f"In the recipe {path}, {name} must be a table.")
            yield name, value
        elif name in TABLES:
            if not isinstance(value, dict):
                raise BadRecipe(f"In the recipe {path}, {name} must be a table.")
            for inner, one in value.items():
                yield _one(f"{name}.{inner}", one, path)
        else:
            yield _one(name, value, path)


def _entry(name: str, raw: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """The keys of one table of a list; those of tables inside it stand behind a dot (``license.spdx``)."""
    for key, value in raw.items():
        if f"{name}.{key}" not in NESTED:
            yield key, _one(f"{name}.{key}", value, path)[1]
            continue
        if not isinstance(value, dict):
            raise BadRecipe(f"In the recipe {path}, {name}.{key} must be a table.")
        for inner, one in value.items():
            yield f"{key}.{inner}", _one(f"{name}.{key}.{inner}", one, path)[1]


def _one(name: str, value: Any, path: Path) -> tuple[str, Any]:
    key = _KNOWN.get(name)
    if key is None:
        raise _unknown(name, path)
    kind = KINDS[key.kind]
    if not kind.fits(value):
        raise BadRecipe(f"In the recipe {path}, {name} {kind.problem}.")
    if key.kind == "path":
        return name, path.parent / value
    if key.kind == "paths":
        return name, [path.parent / one for one in ([value] if isinstance(value, str) else value)]
    return name, value


def _unknown(name: str, path: Path) -> BadRecipe | UnknownName:
    """The error for an unknown key: what cannot be had yet, else the nearest key, of its own table before others."""
    if name in NOT_YET or name.rpartition(".")[2] in NOT_YET:
        return BadRecipe(f"In the recipe {path}, {name} cannot be used: {NOT_YET[name.rpartition('.')[2]]}.")
    table, _, last = name.rpartition(".")
    own = {key.name.rpartition(".")[2]: key.name for key in KEYS if key.table == table}
    own |= {} if table else {one: one for one in TABLES}
    own |= {one.rpartition(".")[2]: one for one in NESTED if one.rpartition(".")[0] == table}
    every = {key.name.rpartition(".")[2]: key.name for key in reversed(KEYS)}  # the plain ones before those in lists
    for known in ({last: every[last]} if last in every else {}, own, every):
        found = nearest(last, known)
        if found is not None:
            return UnknownName("key", name, [known[found]], where=f"the recipe {path}")
    return UnknownName("key", name, [], where=f"the recipe {path}")
