"""What a probe measured, as the seconds that a usual piece of work would take: what the choice compares.

A probe (bridge.h, ``sf_probe``) tells the seconds that one pass of 1 and of 64 tokens takes through all weights of the
model, on a GPU of 512 and 2,048 too, and the same for its attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solofile.runtime.kernel_path import Outcome

PROMPT, ANSWER = 256, 128
"""Tokens of the piece of work: a short question with its instructions, and an answer of a paragraph."""

BATCH = 64
LARGE = (512, 2048)
"""Tokens at once that are measured on a GPU: what llama.cpp takes by itself, and what may keep a large GPU busier.

A CPU is at its best from 256 on (measured: 64 tokens 0.90 of the speed of 512, 256 tokens 0.98, 1,024 tokens 1.00).
"""

CLEARLY = 1.05
"""A measured difference overrules a rule only when it is larger than this."""


def work(outcome: Outcome | None) -> float | None:
    """Seconds that the piece of work takes without attention; None where that was not measured."""
    return None if outcome is None or outcome.result is None else _work(outcome.result.get("seconds"))


def attention(outcome: Outcome | None, kind: str) -> float | None:
    """Seconds that the attention of the piece of work takes, ``kind`` being ``flash`` or ``plain``."""
    table = outcome.result.get("attention") if outcome is not None and outcome.result is not None else None
    return _work(table.get(kind)) if isinstance(table, Mapping) else None


def thorough(outcome: Outcome | None) -> float | None:
    """As `work`, but only where it was measured long enough to tell variants apart."""
    if outcome is None or outcome.result is None or outcome.result.get("quick"):
        return None
    return work(outcome)


def rate(outcome: Outcome | None, tokens: int = 1) -> float | None:
    """Tokens a second: of an answer, or of a prompt with 64 ``tokens``."""
    seconds = _seconds(outcome.result.get("seconds"), tokens) if outcome is not None and outcome.result else None
    return None if seconds is None else tokens / seconds


def against(one: Outcome | None, two: Outcome | None) -> str:
    """Both measured answers side by side, such as ``0.55 against 87 tokens/s``; empty where one is missing."""
    first, second = rate(one), rate(two)
    if first is None or second is None:
        return ""
    if abs(first - second) < 0.03 * second:  # then it is the prompts that differ
        first, second = rate(one, BATCH), rate(two, BATCH)
        return "" if first is None or second is None else f"{speed(first)} against {speed(second)} tokens/s of a prompt"
    return f"{speed(first)} against {speed(second)} tokens/s"


def speed(number: float) -> str:
    """A speed for a person: 0.55, 8.7, 87."""
    if number >= 10:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def _work(table: Any) -> float | None:
    one, many = _seconds(table, 1), _seconds(table, BATCH)
    return None if one is None or many is None else PROMPT / BATCH * many + ANSWER * one


def _seconds(table: Any, tokens: int) -> float | None:
    value = table.get(str(tokens)) if isinstance(table, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e9 else None
