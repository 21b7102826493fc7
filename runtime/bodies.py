"""The body of a request, looked at before llama.cpp's core gets it: what could end the process does not get there.

The core's JSON and grammar parsers go one level of the stack deeper with each bracket, and what they cannot read counts
as the server's fault there. Here it is the client's (400): text that is no UTF-8 or no JSON, brackets in brackets
without an end, numbers that no number type holds, grammars out of all proportion. --max-tokens is put into effect here,
too. A body that passes reaches the core as it came, byte for byte, unless a limit changes it.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from solofile.runtime import grammar_bounds
from solofile.runtime.http_errors import BadBodyError, to_json

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

MAX_DEPTH = 100
"""Brackets in brackets; a JSON schema of a person has a dozen."""

MAX_NUMBER = 2.0**64

_EMBEDDING = frozenset({"/embedding", "/embeddings"})
_TOKEN_FIELDS = ("n_predict", "max_tokens", "max_completion_tokens", "max_output_tokens")

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OTHER = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes(1 if byte in b"[{" else 2 for byte in range(256))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_WITHOUT_BODY = re.compile(r"/slots/[^/]*")
_LISTS = frozenset({"/lora-adapters"})


class Checked(NamedTuple):
    """The body that the core is to get, and whether its answer is held to a grammar."""

    body: bytes
    constrained: bool = False


def check(path: str, body: bytes, max_tokens: int = 0) -> Checked:
    """What the core is to get for ``path``; `BadBodyError` where there is nothing that it could.

    ``max_tokens`` is what an answer may have at most, 0 for what the request says.
    """
    if not body and _WITHOUT_BODY.fullmatch(path):
        return Checked(body)
    if depth(body) > MAX_DEPTH:
        raise BadBodyError(f"The JSON has more than {MAX_DEPTH} brackets within brackets: flatten it.")
    found = _parse(body)
    if isinstance(found, dict):
        _check_fields(path.removeprefix("/v1"), found)
        constrained = grammar_bounds.check(found)
        limited = _limit(found, max_tokens) if max_tokens else None
        return Checked(body if limited is None else to_json(limited), constrained)
    if path not in _LISTS or not isinstance(found, list):
        raise BadBodyError("The body is no JSON object.")
    return Checked(body)


def _check_fields(path: str, found: dict[str, Any]) -> None:
    """What llama.cpp itself would not refuse but fail at: numbers of sampling that its floats do not hold, and what is
    no input of an embedding."""
    for name, value in found.items():
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            raise BadBodyError(f"The number of {name[:40]} is out of all proportion: give it one that is not.")
    if path not in _EMBEDDING:
        return
    name = next((name for name in ("input", "content") if name in found), "")
    given = found.get(name)
    if name and not _is_input(given) and not (isinstance(given, list) and all(map(_is_input, given))):
        raise BadBodyError("The input is no text, no list of tokens and no list of these: send it as one.")
    if not isinstance(found.get("encoding_format", ""), str):
        raise BadBodyError("encoding_format is no text: give it float or base64.")
    if not isinstance(found.get("embd_normalize", 2), int | float):
        raise BadBodyError("embd_normalize is no number: give it -1 for none, 0, 1, 2 or another norm.")


def _is_input(given: object) -> bool:
    """Is it a text, or a list of tokens and texts?"""
    if isinstance(given, dict):
        return isinstance(given.get("prompt_string"), str)
    parts = given if isinstance(given, list) else [given]
    return all(isinstance(part, str) or _is_token(part) for part in parts)


def _is_token(given: object) -> bool:
    """Is it a whole number that llama.cpp reads as one (32 bits)?"""
    return isinstance(given, int) and not isinstance(given, bool) and -(2**31) <= given < 2**31


def depth(body: bytes) -> int:
    """How many brackets of JSON stand within one another. Brackets in texts do not count."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0
    brackets = _STRING.sub(b"", body).translate(_STEPS, _OTHER)
    return max(accumulate((1 if step == 1 else -1 for step in brackets), initial=0))


def _parse(body: bytes) -> Any:
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number, parse_float=_float)
    except UnicodeDecodeError as error:
        raise BadBodyError(f"The body is no UTF-8 text (byte {error.start}).") from error
    except RecursionError as error:
        raise BadBodyError("The JSON has too many brackets within brackets: flatten it.") from error
    except json.JSONDecodeError as error:
        raise BadBodyError(f"The body is no JSON: {error}.") from error
    except ValueError as error:
        raise BadBodyError("The JSON of the body holds a number that no number type holds.") from error
    if _SURROGATE.search(body):
        _refuse_lone_surrogates(found)
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _refuse_lone_surrogates(found: object) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadBodyError("A text in the JSON holds half of a character (a lone surrogate).") from error


def _limit(found: dict[str, Any], most: int) -> dict[str, Any] | None:
    """The body with no more tokens asked for than ``most``; None where that is so already.

    What is no number is left for the core to refuse.
    """
    given = {name: found[name] for name in _TOKEN_FIELDS if isinstance(found.get(name), int | float)}
    over = {name: most for name, value in given.items() if not 0 <= value <= most}
    if "n_predict" not in given and not any(name in given for name in _TOKEN_FIELDS):
        over = {"n_predict": most}
    return {**found, **over} if over else None
