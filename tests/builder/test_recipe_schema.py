"""The JSON Schema and the README are those of the keys that the reader knows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from solofile.builder.recipe_document import load_text, read_text, shipped_folder
from solofile.builder.recipe_keys import KEYS, KINDS, NESTED, NOT_YET, OPEN, OPTIONS, SOURCES, TABLES
from solofile.builder.recipe_schema import README_NAME, SCHEMA_NAME, readme_with_keys, schema, schema_text

ANEW = "run: python -m solofile.builder.recipe_schema"


def test_schema_file_is_up_to_date() -> None:
    assert (shipped_folder() / SCHEMA_NAME).read_text("utf-8") == schema_text(), ANEW


def test_readme_is_up_to_date() -> None:
    text = (shipped_folder() / README_NAME).read_text("utf-8")
    assert readme_with_keys(text) == text, ANEW
    for name in NOT_YET:
        assert f"`{name}`" in text


def test_tables_agree() -> None:
    names = {key.name for key in KEYS}
    assert len(names) == len(KEYS)
    assert {key.table for key in KEYS} == {"", *TABLES, *NESTED} - OPEN
    for table, same in NESTED.items():
        assert [key.text for key in KEYS if key.table == table] == [key.text for key in KEYS if key.table == same]
    assert set(OPTIONS) <= names
    assert {f"model.{one}" for source, others in SOURCES.items() for one in (source, *others)} == {
        key.name for key in KEYS if key.table == "model"
    }
    assert not names & set(NOT_YET)


TYPES: Mapping[str, Any] = {
    "string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict
}  # fmt: skip
TESTS: Mapping[str, Callable[[Mapping[str, Any], Any, Any], bool]] = {
    "type": lambda _, rule, value: (
        isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
    ),
    "anyOf": lambda _, rule, value: any(fits(one, value) for one in rule),
    "oneOf": lambda _, rule, value: sum(fits(one, value) for one in rule) == 1,
    "not": lambda _, rule, value: not fits(rule, value),
    "required": lambda _, rule, value: set(rule) <= set(value),
    "minLength": lambda _, rule, value: len(value) >= rule,
    "minimum": lambda _, rule, value: value >= rule,
    "pattern": lambda _, rule, value: re.search(rule, value) is not None,
    "items": lambda _, rule, value: all(fits(rule, one) for one in value),
    "properties": lambda _, rule, value: all(fits(rule[key], one) for key, one in value.items() if key in rule),
    "additionalProperties": lambda rules, rule, value: rule or set(value) <= set(rules["properties"]),
}


def fits(rules: Mapping[str, Any], value: Any) -> bool:
    """Does a value fit a schema of the few words that ours uses?"""
    if "type" in rules and not TESTS["type"](rules, rules["type"], value):
        return False  # the other words would not make sense
    words = set(rules) - {"$schema", "title", "description", "type"}
    return all(TESTS[word](rules, rules[word], value) for word in words)


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(path: Any) -> None:
    assert fits(schema(), load_text(read_text(path), path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nmae = 1",
        'name = ""\nextends = "a"',
        'extends = "a"\n[model]\npath = "a"\nurl = "b"',
        '[model]\npath = "a"\nsize = 0',
        '[model]\npath = "a"\nsha256 = "12"',
        '[model]\npath = "a"\n[sampling]\ntop_k = "x"',
        'verified = 1\n[model]\npath = "a"',
    ],
)
def test_mistakes_do_not_fit(text: str) -> None:
    assert not fits(schema(), load_text(text, shipped_folder()))


@pytest.mark.parametrize("value", ["", "x", "0" * 64, 0, 1, -1, 1.5, True, [], ["x"], ["0" * 64], [1], [1.5], {}])
def test_schema_and_reader_agree_on_values(value: Any) -> None:
    for name, kind in KINDS.items():
        if value == [] and name in ("digests", "counts"):
            continue  # the reader wants one at least
        assert fits(kind.schema, value) is kind.fits(value), name


def test_schema_is_json() -> None:
    assert json.loads(schema_text()) == schema()
