"""Whether to read the model once in order before it is loaded, and what to say about it beforehand. Pure decisions.

A model that is mapped comes in by page faults, in whatever order the weights are used. On a stick, a network drive or a
disk with moving parts that takes many times as long as one reading from the first byte to the last, and shows nothing
meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime.reading import duration, megabytes, rate

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.media import Medium
else:
    from solofile.runtime.record import NamedTuple

_FEW = 16 << 20
_FEW_PERCENT = 2
"""So little may be missing from the page cache and is left to page faults."""

NOTICEABLE = 2.0
"""Seconds; what takes less is not worth a sentence."""


def known_speed(document: Mapping[str, Any], medium: Medium) -> float | None:
    """Bytes a second that ``medium`` gave last time, from what is remembered (remembered.py); None for unknown."""
    media = document.get("media")
    one = media.get(medium.key) if isinstance(media, dict) else None
    speed = one.get("bytes_per_second") if isinstance(one, dict) else None
    return float(speed) if isinstance(speed, (int, float)) and speed > 0 else None


def news(medium: Medium, speed: float) -> dict[str, Any]:
    """What to remember of a reading at ``speed`` bytes a second."""
    return {"media": {medium.key: {"bytes_per_second": round(speed)}}} if medium.key else {}


class ReadPlan(NamedTuple):
    """Whether to read the model in order before it is loaded, and why.

    ``expected`` are the seconds that it takes where the speed is known; ``sentence`` is what to say before, empty where
    it is soon over.
    """

    read_first: bool
    reason: str
    expected: float | None = None
    sentence: str = ""


def is_in_memory(size: int, missing: int) -> bool:
    """Is so little of a model missing from memory that it is left to page faults?"""
    return missing <= max(_FEW, size * _FEW_PERCENT // 100)


def plan(
    medium: Medium, size: int, missing: int | None, available: int | None, speed: float | None, *, hint: bool = False
) -> ReadPlan:
    """Decide about a model of ``size`` bytes of which ``missing`` are not in the page cache, None for unknown.

    ``available`` are the bytes of memory that can be had, None for unknown; ``speed`` is what the medium gave last time
    in bytes a second, None for unknown; ``hint``: say that --local-copy would help.
    """
    if medium.kind == "memory":
        return ReadPlan(False, "the model lies in memory")
    if missing is None and not medium.slow:
        return ReadPlan(False, "this system does not say what of the model is in memory already")
    left = size if missing is None else missing
    if is_in_memory(size, left):
        return ReadPlan(False, "the model is in memory already")
    if available is not None and size > available:
        return ReadPlan(False, "the model is larger than the memory, so its end would push out its beginning")
    expected = left / speed if speed else None
    reason = f"the model lies on {medium.words} and is not in memory yet"
    noticeable = medium.slow if expected is None else expected > NOTICEABLE
    sentence = _announcement(medium, left, speed, hint=hint) if noticeable else ""
    return ReadPlan(True, reason, expected, sentence)


def _announcement(medium: Medium, missing: int, speed: float | None, *, hint: bool) -> str:
    if speed:
        how_long = f"about {duration(missing / speed)} at {rate(speed)}, as measured last time"
    else:
        how_long = "how long it takes shows after the first 32 MB"
    more = " (--local-copy would keep it on this machine)" if hint and medium.worth_copying else ""
    return f"The model is read from {medium.words} first, {megabytes(missing)} in one go: {how_long}{more}."
