"""What is said about memory: a model that does not fit and what to change, a context that was made shorter."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.memory import Estimate, Room, Subject

_BITS = {"Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q4_K_M": 4.9, "Q3_K_M": 3.9, "Q2_K": 3.2}
"""Bits a weight of the usual quantizations, from the table of llama.cpp's tools/quantize/README.md, rounded up."""

_WORTH_NAMING = 500_000_000


def size_text(size: int) -> str:
    """A size for a person: 4.9 GB, 312 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(0, size) / 1e6:.0f} MB"


def _takes(subject: Subject, one: Estimate, shared: Set[str]) -> str:
    parts = f"weights {size_text(one.weights)}, KV cache {size_text(one.kv)}, computing {size_text(one.compute)}"
    kind = f" ({subject.quantization})" if subject.quantization else ""
    return (
        f"{subject.name}{kind} takes {size_text(one.needed(shared))} of memory with a context of "
        f"{one.context:,} tokens ({parts})"
    )


def _available(room: Room) -> str:
    where = f" under this container's limit of {size_text(room.limit)}" if room.limit is not None else ""
    whole = size_text(room.available or 0)
    return f"of the {whole} that are available{where} a model can have {size_text(room.usable or 0)}"


def refuse_model(subject: Subject, low: Estimate, room: Room, shared: Set[str], other: str) -> str:
    """Not even the shortest context that makes sense fits."""
    usable = room.usable or 0
    missing = size_text(low.needed(shared) - usable)
    where = "raise that limit" if room.limit is not None else "close other programs"
    more = f"{where} ({missing} more are needed{other and f'; {other}'})"
    return (
        f"{_takes(subject, low, shared)}, and {_available(room)}: {_smaller(subject, low, usable, shared)}, or {more}."
    )


def _smaller(subject: Subject, low: Estimate, usable: int, shared: Set[str]) -> str:
    """The largest of the usual quantizations that would fit."""
    left = usable - (low.needed(shared) - low.weights)
    for name, bits in _BITS.items():
        size = int(subject.parameters * bits / 8)
        if 0 < size <= left and size < low.weights:
            return f"use a smaller quantization such as {name} (about {size_text(size)})"
    return "use a smaller model"


def refuse_context(subject: Subject, full: Estimate, best: Estimate, room: Room, shared: Set[str]) -> str:
    """The context that the user gave does not fit; ``best`` does, which may be more than the model was made for."""
    fits = f"-c {best.context} fits"
    if 0 < full.context_train <= best.context:
        fits = f"-c {full.context_train} fits and is what it was trained for"
    return (
        f"{_takes(subject, full, shared)}, and {_available(room)}: {fits}, a KV cache of fewer bits "
        "(-ctk q8_0 -ctv q8_0) holds more, and --fit off loads it all the same."
    )


def shrunk(full: Estimate, best: Estimate, room: Room) -> str:
    """The model's own context does not fit, so it is ``best``'s."""
    return (
        f"The context is {best.context:,} tokens in place of {full.context:,}, which would take "
        f"{size_text(full.kv - best.kv)} more: {_available(room)} (-c sets it, -ctk q8_0 -ctv q8_0 makes it smaller)."
    )


def shorter(full: Estimate, room: Room) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Why the context is shorter than the model's own, ``full``'s, and what became of that one."""
    remedy = "does not fit: a KV cache of fewer bits (-ctk q8_0 -ctv q8_0) holds more"
    reason = f"the longest that fits: a model can have {size_text(room.usable or 0)}"
    return reason, ((f"{full.context:,} tokens", remedy),)


def verdict(estimate: Estimate, room: Room, shared: Set[str]) -> str:
    """What follows after the reason for a context: whether it fits."""
    usable = room.usable
    if usable is None:
        return ", and nobody knows how much memory there is"
    if estimate.needed(shared) <= usable:
        return ", and all of it fits"
    needed = size_text(estimate.needed(shared))
    return f", but {needed} are more than the {size_text(usable)} that a model can have (--fit off)"


def forced(subject: Subject, full: Estimate, room: Room, shared: Set[str]) -> str:
    """It does not fit and is loaded nevertheless."""
    return f"{_takes(subject, full, shared)}, and {_available(room)}: --fit off loads it all the same."


def largest_program(proc: str = "/proc") -> str:
    """A clause that names the program that holds the most memory, empty where none holds much or nobody says."""
    best, name = _WORTH_NAMING, ""
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    with contextlib.suppress(OSError):
        for process in os.listdir(proc):  # noqa: PTH208
            if process.isdigit() and int(process) != os.getpid():
                size = _resident(f"{proc}/{process}") * page
                if size > best:
                    best, name = size, _first_line(f"{proc}/{process}/comm")
    return f"{name} uses {size_text(best)}" if name else ""


def _resident(folder: str) -> int:
    """Pages that a process holds; statm has them second."""
    words = _first_line(f"{folder}/statm").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.readline().strip()
    except OSError:  # it has ended meanwhile
        return ""
