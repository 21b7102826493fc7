"""Grammars and JSON schemas that are out of all proportion, refused before llama.cpp's parser meets them.

Its parser calls itself for each parenthesis, and its converter of JSON schemas for each ``$ref``, ``anyOf`` and
pattern; a repetition becomes so many rules. What is counted here is cheap to count and far above what people write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from solofile.runtime.http_errors import BadBodyError

MAX_GRAMMAR = 64 * 1024
"""Characters of a grammar, and of a pattern."""

MAX_PARENTHESES = 64
MAX_REPEATS = 2000
"""Repetitions of one thing, nested ones multiplied: llama.cpp's own limit for a grammar."""

MAX_SCHEMA = 4_000
"""Objects, lists and values in the schemas of a request; with 3,000 properties in one object the converter dies."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|#[^\n]*', re.DOTALL)
_PARTS = re.compile(r"[()*+?]|\{\s*(\d{1,20})?\s*(?:(,)\s*(\d{1,20})?)?\s*\}|[^\s()*+?{]+|\{")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
_COMPOSED = ("tools", "functions", "response_format", "json_schema", "text", "output_config", "output_format")


def check(body: dict[str, Any]) -> bool:
    """Look at what of a request's body becomes a grammar; whether anything does. `BadBodyError`: what is too much."""
    grammar = body.get("grammar")
    found = isinstance(grammar, str) and bool(grammar)
    if isinstance(grammar, str):
        check_grammar(grammar)
    for name in _COMPOSED:
        if isinstance(body.get(name), dict | list):
            check_schema(body[name])
            found = True
    return found


def check_grammar(text: str, what: str = "The grammar") -> None:
    """Length, parentheses and repetitions of a grammar in GBNF, or of a regular expression."""
    if len(text) > MAX_GRAMMAR:
        raise BadBodyError(f"{what} is longer than {MAX_GRAMMAR} characters: shorten it.")
    inside = [1]
    """The largest product of repetitions within each parenthesis that is open."""
    last = 1
    for part in _PARTS.finditer(_TEXT.sub('""', text)):
        sign = part[0]
        if sign == "(":
            inside.append(1)
            last = 1
        elif sign == ")":
            last = inside.pop() if len(inside) > 1 else 1
            inside[-1] = max(inside[-1], last)
        elif sign[0] == "{" and len(sign) > 1:
            last *= max(1, int(part[3] or part[1] or 0))
            inside[-1] = max(inside[-1], last)
        elif sign not in ("?", "*", "+"):
            last = 1  # the next thing
        if len(inside) > MAX_PARENTHESES:
            raise BadBodyError(f"{what} has more than {MAX_PARENTHESES} parentheses within one another: simplify it.")
        if last > MAX_REPEATS:
            raise BadBodyError(f"{what} repeats something more than {MAX_REPEATS} times: repeat it less often.")


def check_schema(schema: object) -> None:
    """Size, counts and patterns of JSON schemas, wherever they stand in ``schema``."""
    for parts, (name, value) in enumerate(_walk(schema), 1):
        if parts > MAX_SCHEMA:
            raise BadBodyError(f"The JSON schema has more than {MAX_SCHEMA} parts: simplify it.")
        if name in _COUNTS and isinstance(value, int | float) and value > MAX_REPEATS:
            raise BadBodyError(f"{name} of the JSON schema is above {MAX_REPEATS}: lower it.")
        if name == "pattern" and isinstance(value, str):
            check_grammar(value, "A pattern of the JSON schema")


def _walk(found: object, name: str = "") -> Iterator[tuple[str, object]]:
    yield name, found
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _walk(value, key)
    elif isinstance(found, list):
        for value in found:
            yield from _walk(value)
