"""Pinning a recipe: its model is fetched once, and what came is written down in the recipe, by which it is verified.

The recipe stays the user's text: lines are put in or replaced, and the result has to read as what was meant.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from solofile.builder.chosen_models import header_of
from solofile.builder.companions import check_projector
from solofile.builder.download import is_open_to_changes
from solofile.builder.errors import BadRecipe, BadSource
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.output import check_output, replacing
from solofile.builder.progress import Progress
from solofile.builder.recipe import Recipe, parse_recipe
from solofile.builder.recipe_document import load, load_text, read_text, shipped_folder
from solofile.builder.recipe_keys import KEYS
from solofile.builder.sources import (
    BundleSource,
    Fetched,
    Found,
    PathSource,
    Single,
    Source,
    SplitSource,
    UrlSource,
    describe,
    fetch_unknown,
    file_name,
)
from solofile.builder.splits import joined
from solofile.builder.tools import ProgressMaker

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(#.*)?")
_ENTRY = re.compile(r"(\w+)\[(\d+)\](.*)")


class Spot(NamedTuple):
    """A table of a recipe whose files are to be fetched: ``model``, ``models[1]``, ``models[1].projector``."""

    table: str
    parts: tuple[Single, ...]
    source: Source


@dataclass(frozen=True)
class Pinned:
    """A recipe that was pinned: where it lies now, and what came, models and what goes along with them."""

    path: Path
    facts: tuple[ModelFacts, ...]
    size: int
    sha256: tuple[str, ...]


def pin(path: Path, output: Path | None = None, *, force: bool = False, progress: ProgressMaker = Progress) -> Pinned:
    """Fetch the model of the recipe at ``path`` and record its size and SHA-256.

    The recipe itself is changed, but one that comes with solofile is copied, to ``output`` or into the current folder.
    Raises BadRecipe, BadSource, BadModel, BadOutput.
    """
    recipe = parse_recipe(load(path))
    target = output or (Path(path.name) if path.parent == shipped_folder() else path)
    if target.resolve() != path.resolve():
        check_output(target, force=force)
    spots = _spots(recipe, path)
    unknown = Found(path, 1, "0" * 64, None)
    edited(read_text(path), changes({one.table: [unknown] * len(one.parts) for one in spots}), path)  # before they come
    found = {one.table: [_first_look(part, progress) for part in one.parts] for one in spots}
    facts = _check_all(spots, found, progress)
    text = edited(read_text(path), changes(found), path)
    with _copied_files(path, target), replacing(target) as file:
        file.write(text.encode())
    parse_recipe(load(target))
    files = [one for several in found.values() for one in several]
    return Pinned(target, facts, sum(one.size for one in files), tuple(one.sha256 for one in files))


def changes(found: Mapping[str, Sequence[Found]]) -> dict[str, Any]:
    """What a pinned recipe says of what came, by key; ``found`` has the files by the table that names them."""
    values: dict[str, Any] = {"verified": True}
    for table, files in found.items():
        if files[0].wheel_sha256 is not None:
            values[f"{table}.wheel_sha256"] = files[0].wheel_sha256
        split = len(files) > 1
        values[f"{table}.sha256"] = [one.sha256 for one in files] if split else files[0].sha256
        values[f"{table}.size"] = [one.size for one in files] if split else files[0].size
    return values


def edited(text: str, values: Mapping[str, Any], path: Path) -> str:
    """The TOML ``text`` with ``values`` in it, the rest as it was. Raises BadRecipe where that needs a person."""
    lines, wanted = text.splitlines(), load_text(text, path)
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        there = _inside(wanted, table)
        if there.get(key) != value:
            _set(lines, table, key, f"{key} = {_toml(value)}")
        there[key] = value
    result = "\n".join(lines) + "\n"
    if load_text_or_none(result, path) != wanted:
        listed = ", ".join(f"{name} = {_toml(value)}" for name, value in values.items())
        raise BadRecipe(f"The recipe {path} is written in a way that cannot be changed here: put in {listed} by hand.")
    return result


def _inside(document: dict[str, Any], table: str) -> dict[str, Any]:
    """The table of a recipe that ``table`` names, made where there is none."""
    entry = _ENTRY.fullmatch(table)
    if entry is not None:
        document, table = document[entry[1]][int(entry[2])], entry[3].removeprefix(".")
    there: dict[str, Any] = document.setdefault(table, {}) if table else document
    return there


def load_text_or_none(text: str, path: Path) -> dict[str, Any] | None:
    """The TOML of ``text``, None if it is none."""
    try:
        return load_text(text, path)
    except BadRecipe:
        return None


def _set(lines: list[str], table: str, key: str, line: str) -> None:
    """Replace the line of a key, or put it behind the last one of its table, which is made where there is none."""
    begin, end = _range(lines, table)
    if begin is None:
        lines += ["", f"[{table}]", line]
        return
    assigned = re.compile(rf"\s*{re.escape(key)}\s*=")
    for number in range(begin, end):
        if assigned.match(lines[number]):
            lines[number] = line
            return
    while end > begin and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    lines.insert(end, line)


def _range(lines: Sequence[str], table: str) -> tuple[int | None, int]:
    """The first line of a table's content and the line behind its last one."""
    headers = [(number, match[1]) for number, line in enumerate(lines) if (match := _HEADER.fullmatch(line))]
    ends = [*(number for number, _ in headers[1:]), len(lines)]
    if not table:
        return 0, headers[0][0] if headers else len(lines)
    entry = _ENTRY.fullmatch(table)
    wanted, left = (f"{entry[1]}{entry[3]}", int(entry[2])) if entry else (table, 0)
    for (number, name), end in zip(headers, ends, strict=False):
        if entry and name == entry[1]:
            left -= 1  # below zero from the entry that is meant on
        if name == wanted and left == (-1 if entry else 0):
            return number + 1, end
    return None, len(lines)


def _toml(value: Any) -> str:
    """A value as TOML; for the few types here JSON is the same."""
    return json.dumps(value, ensure_ascii=False)


def _spots(recipe: Recipe, path: Path) -> list[Spot]:
    """What is to be fetched. Raises BadRecipe where there is nothing to pin."""
    named: list[tuple[str, Source | None]] = []
    for number, one in enumerate(recipe.each):
        table = f"models[{number}]" if recipe.models else "model"
        named += [(table, one.source), (f"{table}.projector" if recipe.models else "projector", one.projector)]
    spots = []
    for table, source in named:
        if source is not None and not isinstance(source, (PathSource, BundleSource)):
            spots.append(Spot(table, source.parts if isinstance(source, SplitSource) else (source,), source))
    if not spots:
        raise BadRecipe(
            f"The recipe {path} takes its model from {describe(recipe.source)}: there is nothing to fetch and pin."
        )
    return spots


def _first_look(source: Single, progress: ProgressMaker) -> Found:
    """Fetch a file, and hold it against what the recipe says already."""
    if isinstance(source, UrlSource) and source.sha256 is None and is_open_to_changes(source.url):
        raise BadSource(
            f"{source.url} is not encrypted, so anybody on the way could change what comes: give an https one."
        )
    found = fetch_unknown(source, progress)
    if source.sha256 not in (None, found.sha256):
        raise BadSource(
            f"{describe(source)} is not the file that is meant: its SHA-256 is {found.sha256} in place of "
            f"{source.sha256}."
        )
    return found


def _check_all(
    spots: Sequence[Spot], found: Mapping[str, Sequence[Found]], progress: ProgressMaker
) -> tuple[ModelFacts, ...]:
    """Are they models that a bundle can be made of, and projectors for them? The facts of the models."""
    facts, models = [], {}
    for spot in spots:
        if not spot.table.endswith("projector"):
            whole = _whole(spot, found[spot.table], progress)
            facts.append(check_model(whole))
            models[spot.table] = header_of(whole)
    for spot in spots:
        of = spot.table.removesuffix("projector").removesuffix(".") or "model"
        if spot.table.endswith("projector") and of in models:
            file = found[spot.table][0].path
            check_projector(file, header_of(file), models[of])
    return tuple(facts)


def _whole(spot: Spot, found: Sequence[Found], progress: ProgressMaker) -> Path:
    """The model as one file."""
    parts = tuple(
        Fetched(one.path, one.sha256, file_name(remote)) for one, remote in zip(found, spot.parts, strict=True)
    )
    if len(parts) == 1:
        return parts[0].path
    return joined(Fetched(parts[0].path, None, parts[0].name, parts=parts), progress).path


def _tables(raw: Mapping[str, Any], table: str) -> list[Mapping[str, Any]]:
    """The tables of that name, of which a list has several, and each of its entries may have one inside."""
    outer, _, inner = table.partition(".")
    found = raw.get(outer, {}) if outer else raw
    entries = found if isinstance(found, list) else [found]
    return [entry.get(inner, {}) if inner else entry for entry in entries]


@contextlib.contextmanager
def _copied_files(path: Path, target: Path) -> Iterator[None]:
    """Put the files that a recipe names by path where its copy will look for them, unless the block fails."""
    copies: list[Path] = []
    try:
        for one in _named_files(path) if target.resolve() != path.resolve() else ():
            copy = target.parent / one
            if not copy.exists() and (path.parent / one).is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copies.append(copy)
                with replacing(copy) as file:
                    file.write((path.parent / one).read_bytes())
        yield
    except BaseException:
        for copy in copies:
            copy.unlink(missing_ok=True)
        raise


def _named_files(path: Path) -> Iterator[str]:
    raw = load_text(read_text(path), path)
    for key in KEYS:
        if key.kind in ("path", "paths"):
            table, _, name = key.name.rpartition(".")
            for one in _tables(raw, table):
                value = one.get(name, [])
                yield from [value] if isinstance(value, str) else value
