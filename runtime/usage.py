"""How many tokens an answer took, read from the answer itself, of whichever of llama.cpp's APIs it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

_TIMINGS = b'"timings":{'
_USAGE = b'"usage":{'
# A quote inside a text of the model is escaped, so that neither can come from there.

_decode = json.JSONDecoder().raw_decode


class Usage(NamedTuple):
    """Tokens of a prompt that were computed, those taken from the cache, and those of the answer."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.cached + self.completion


def read(chunk: bytes) -> Usage | None:
    """What a piece of an answer says of its tokens; None where it says nothing, as all but the last do."""
    place = chunk.rfind(_TIMINGS)
    if place >= 0:
        facts = _object(chunk, place + len(_TIMINGS) - 1)
        return Usage(_of(facts, "prompt_n"), _of(facts, "cache_n"), _of(facts, "predicted_n"))
    place = chunk.rfind(_USAGE)
    if place < 0:
        return None
    facts = _object(chunk, place + len(_USAGE) - 1)
    details = facts.get("prompt_tokens_details") or facts.get("input_tokens_details") or {}
    cached = _of(details, "cached_tokens") or _of(facts, "cache_read_input_tokens")
    prompt = _of(facts, "prompt_tokens") or _of(facts, "input_tokens") or _of(facts, "total_tokens")
    if "cache_read_input_tokens" in facts:
        prompt += cached  # Anthropic's API counts them apart
    completion = _of(facts, "completion_tokens") or _of(facts, "output_tokens")
    return Usage(max(0, prompt - cached), cached, completion)


def _object(chunk: bytes, place: int) -> dict[str, Any]:
    try:
        found = _decode(chunk[place:].decode("utf-8", "replace"))[0]
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _of(facts: Any, name: str) -> int:
    value = facts.get(name) if isinstance(facts, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
