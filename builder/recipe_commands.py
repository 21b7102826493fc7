"""``solofile recipe list|show|check|pin``: what they do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solofile.builder.converting import is_convertible
from solofile.builder.errors import BadRecipe
from solofile.builder.metadata_edits import flattened
from solofile.builder.pack_choice import expanded, share
from solofile.builder.progress import byte_size
from solofile.builder.quantize_names import find_quantization
from solofile.builder.recipe import Recipe, parse_recipe
from solofile.builder.recipe_document import Document, load, shipped_folder, shipped_names, shipped_recipe
from solofile.builder.recipe_keys import KEYS, LISTS, OPEN, TABLES
from solofile.builder.recipe_pin import pin
from solofile.builder.reporting import say
from solofile.builder.sources import BundleSource, PathSource, describe
from solofile.builder.targets import find_gpus, find_kernels, find_target
from solofile.runtime.errors import InputError, UnknownName
from solofile.runtime.options import parse as parse_options
from solofile.runtime.text_columns import columns


def list_recipes(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command is called so
    """``solofile recipe list``: the recipes that come with solofile."""
    rows = []
    for name in shipped_names():
        recipe = parse_recipe(load(shipped_folder() / f"{name}.toml"))
        state = "verified" if recipe.verified else "to be pinned"
        rows.append((name, state, recipe.license or "", recipe.title or ""))
    for line in columns(rows):
        print(line)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """``solofile recipe show``: all that a recipe comes to, what it extends included."""
    document = load(find(arguments.recipe))
    parse_recipe(document)
    for path in (document.path, *document.extends):
        print(f"# {path}")
    print("\n" + as_toml(document), end="")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """``solofile recipe check``: would a build take it? Nothing is fetched."""
    path = find(arguments.recipe)
    recipe = parse_recipe(load(path))
    check_recipe(recipe)
    if recipe.verified is False:
        state = f"to be pinned before a build: solofile recipe pin {arguments.recipe}"
    else:
        state = "verified" if recipe.verified else "ready to build"
    what = "; ".join(describe(one.source) for one in recipe.each)
    print(f"{path}: sound; {what}; {state}.")
    return 0


def pin_recipe(arguments: argparse.Namespace) -> int:
    """``solofile recipe pin``: fetch the model, record its size and SHA-256."""
    pinned = pin(find(arguments.recipe), arguments.output, force=arguments.force)
    models = "; ".join(f"{facts.architecture}, {facts.quantization}" for facts in pinned.facts)
    what = f"{models}, {byte_size(pinned.size)}"
    say(f"{pinned.path}: verified ({what}, SHA-256 {', '.join(pinned.sha256)}).", pinned.path, sha256=pinned.sha256)
    print(f"Build it with: solofile build {pinned.path}")
    return 0


def find(name: str) -> Path:
    """The recipe file of that path, or the shipped one of that name. Raises UnknownName, BadRecipe."""
    path = Path(name)
    if path.is_file():
        return path
    found = shipped_recipe(name)
    if found is not None:
        return found
    if path.suffix == ".toml":
        raise BadRecipe(f"The recipe {name} cannot be read: No such file or directory.")
    raise UnknownName("recipe", name, shipped_names())


def check_recipe(recipe: Recipe) -> None:
    """What can be checked of a recipe without its model being fetched. Raises BadRecipe and UnknownName."""
    try:
        for words in (recipe.arguments, *(one.arguments for one in recipe.models)):
            parse_options(words)
    except InputError as error:
        raise BadRecipe(f"The arguments of the recipe {recipe.recipe} cannot be used: {error}") from error
    targets = expanded(recipe.targets)
    for name in targets or (find_target().name,):
        find_kernels(find_target(name), share(name, targets, "kernels", recipe.kernels))
        find_gpus(find_target(name), share(name, targets, "gpus", recipe.gpu) or "none")
    if recipe.quantize is not None:
        find_quantization(recipe.quantize)
    files = [*recipe.license_files, *recipe.backends]
    files += [file for file in (recipe.icon, recipe.imatrix) if file]
    files += [file for one in recipe.models for file in one.license_files]
    files += [one.path for one in recipe.sources if isinstance(one, (PathSource, BundleSource))]
    for file in files:
        if not file.is_file() and not is_convertible(file):
            raise BadRecipe(f"The recipe {recipe.recipe} names {file}, which does not exist: check the path.")


def as_toml(document: Document) -> str:
    """The values of a recipe as TOML, in the order of the table of keys."""
    parts = []
    for table in ("", *TABLES):
        if table in OPEN and table in document.values:
            rows = (f'"{key}" = {_value(value)}\n' for key, value in flattened(document.values[table]))
            parts.append(f"[{table}]\n" + "".join(rows))
            continue
        if table in LISTS:
            for one in document.values.get(table, ()):
                parts.append(f"[[{table}]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in one.items()))
            continue
        lines = [
            f"{key.name.rpartition('.')[2]} = {_value(document.values[key.name])}"
            for key in KEYS
            if key.table == table and key.name in document.values
        ]
        if lines:
            parts.append("\n".join([f"[{table}]", *lines] if table else lines) + "\n")
    return "\n".join(parts)


def _value(value: Any) -> str:
    plain = [str(one) if isinstance(one, Path) else one for one in value] if isinstance(value, list) else value
    return json.dumps(str(plain) if isinstance(plain, Path) else plain, ensure_ascii=False).replace("\x7f", "\\u007f")


COMMANDS: Mapping[str, tuple[Any, str]] = {
    "list": (list_recipes, "name the recipes that come with solofile"),
    "show": (show, "print all that a recipe comes to"),
    "check": (check, "say whether a recipe is sound; nothing is fetched"),
    "pin": (pin_recipe, "fetch the model of a recipe and record its size and SHA-256"),
}
"""The steps of ``solofile recipe``, with their help."""
