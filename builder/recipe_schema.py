"""The JSON Schema for editors and the table of keys for the README, both made of the keys that the reader knows.

``python -m solofile.builder.recipe_schema`` writes both anew into recipes/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from solofile.builder.recipe_document import shipped_folder
from solofile.builder.recipe_keys import KEYS, KINDS, LISTS, NESTED, OPEN, SOURCES, TABLES, Key

SCHEMA_NAME = "recipe.schema.json"
README_NAME = "README.md"
BEGIN, END = "<!-- keys -->\n", "<!-- end of keys -->\n"

_TYPES = {
    "text": "text", "path": "path", "flag": "true or false", "count": "whole number", "whole": "whole number",
    "number": "number", "texts": "list of texts", "names": "text or list", "paths": "path or list",
    "digest": "64 hex digits", "digests": "64 hex digits, or a list", "counts": "whole number, or a list",
}  # fmt: skip


def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    properties = _properties("")
    for table, text in TABLES.items():
        properties[table] = {"description": text, "type": "object", "properties": _properties(table)}
        properties[table]["additionalProperties"] = table in OPEN
        if table in LISTS:
            properties[table] = {"type": "array", "items": properties[table]}
    for name, text in NESTED.items():
        table, _, inner = name.rpartition(".")
        made = {"description": TABLES[text], "type": "object", "properties": _properties(name)}
        properties[table]["items"]["properties"][inner] = made | {"additionalProperties": False}
    sources = [{"required": [source]} for source in SOURCES]
    # At most one: a recipe that extends another one may change what goes with that one's source.
    properties["model"]["oneOf"] = [*sources, {"not": {"anyOf": sources}}]
    properties["models"]["items"]["oneOf"] = sources
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "solofile recipe",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "anyOf": [{"required": ["model"]}, {"required": ["models"]}, {"required": ["extends"]}],
    }


def schema_text() -> str:
    """The text of recipe.schema.json."""
    return json.dumps(schema(), indent=1) + "\n"


def key_tables() -> str:
    """The part of the README that has every key."""
    parts = [_table(key for key in KEYS if not key.table)]
    for table, text in TABLES.items():
        head = f"[[{table}]]" if table in LISTS else f"[{table}]"
        keys = "" if table in OPEN else "\n" + _table(key for key in KEYS if key.table == table)
        parts.append(f"### `{head}`\n\n{text}\n{keys}")
    return "\n" + "\n".join(parts) + "\n"


def readme_with_keys(text: str) -> str:
    """The README ``text`` with its part about the keys made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + key_tables() + END + after


def _properties(table: str) -> dict[str, Any]:
    return {
        key.name.rpartition(".")[2]: {"description": key.text, **KINDS[key.kind].schema}
        for key in KEYS
        if key.table == table
    }


def _table(keys: Iterable[Key]) -> str:
    rows = [f"| `{key.name.rpartition('.')[2]}` | {_TYPES[key.kind]} | {key.text} |" for key in keys]
    return "\n".join(["| key | value | what |", "|---|---|---|", *rows]) + "\n"


def main(folder: Path) -> None:
    """Write the schema and the README's part about the keys into ``folder``."""
    (folder / SCHEMA_NAME).write_text(schema_text(), "utf-8")
    readme = folder / README_NAME
    readme.write_text(readme_with_keys(readme.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(shipped_folder())
