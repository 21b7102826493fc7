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
from typing import Any

from solofile.builder.download import is_open_to_changes
from solofile.builder.errors import BadRecipe, BadSource
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.output import check_output, replacing
from solofile.builder.progress import Progress
from solofile.builder.recipe import parse_recipe
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

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(#.*)?")


@dataclass(frozen=True)
class Pinned:
    """A recipe that was pinned: where it lies now, and what came."""

    path: Path
    facts: ModelFacts
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
    remotes = _remotes(recipe.source, path)
    edited(read_text(path), changes([Found(path, 1, "0" * 64, None)] * len(remotes)), path)  # before gigabytes come
    found = [_first_look(one, progress) for one in remotes]
    facts = _check(recipe.source, found, progress)
    text = edited(read_text(path), changes(found), path)
    with _copied_files(path, target), replacing(target) as file:
        file.write(text.encode())
    parse_recipe(load(target))
    return Pinned(target, facts, sum(one.size for one in found), tuple(one.sha256 for one in found))


def changes(found: Sequence[Found]) -> dict[str, Any]:
    """What a pinned recipe says of what came, by key."""
    values: dict[str, Any] = {"verified": True}
    if found[0].wheel_sha256 is not None:
        values["model.wheel_sha256"] = found[0].wheel_sha256
    split = len(found) > 1
    values["model.sha256"] = [one.sha256 for one in found] if split else found[0].sha256
    values["model.size"] = [one.size for one in found] if split else found[0].size
    return values


def edited(text: str, values: Mapping[str, Any], path: Path) -> str:
    """The TOML ``text`` with ``values`` in it, the rest as it was. Raises BadRecipe where that needs a person."""
    lines, wanted = text.splitlines(), load_text(text, path)
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        there = wanted.setdefault(table, {}) if table else wanted
        if there.get(key) != value:
            _set(lines, table, key, f"{key} = {_toml(value)}")
        there[key] = value
    result = "\n".join(lines) + "\n"
    if load_text_or_none(result, path) != wanted:
        listed = ", ".join(f"{name} = {_toml(value)}" for name, value in values.items())
        raise BadRecipe(f"The recipe {path} is written in a way that cannot be changed here: put in {listed} by hand.")
    return result


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
    for (number, name), end in zip(headers, ends, strict=False):
        if name == table:
            return number + 1, end
    return None, len(lines)


def _toml(value: Any) -> str:
    """A value as TOML; for the few types here JSON is the same."""
    return json.dumps(value, ensure_ascii=False)


def _remotes(source: Source, path: Path) -> tuple[Single, ...]:
    """What is to be fetched, each file by itself. Raises BadRecipe where there is nothing to pin."""
    if isinstance(source, (PathSource, BundleSource)):
        raise BadRecipe(
            f"The recipe {path} takes its model from {describe(source)}: there is nothing to fetch and pin."
        )
    return source.parts if isinstance(source, SplitSource) else (source,)


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


def _check(source: Source, found: Sequence[Found], progress: ProgressMaker) -> ModelFacts:
    """Is it a model that a bundle can be made of?"""
    remotes = source.parts if isinstance(source, SplitSource) else (source,)
    parts = tuple(
        Fetched(one.path, one.sha256, file_name(remote))  # type: ignore[arg-type]  # these are the fetched kinds
        for one, remote in zip(found, remotes, strict=True)
    )
    whole = joined(Fetched(parts[0].path, None, parts[0].name, parts=parts), progress) if len(parts) > 1 else parts[0]
    return check_model(whole.path)


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
            inner = raw.get(table, {}) if table else raw
            for one in inner if isinstance(inner, list) else [inner]:
                value = one.get(name, [])
                yield from [value] if isinstance(value, str) else value
