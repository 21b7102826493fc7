"""What the machine or the bundle has and a start does not use, each with what would make it used: a part of --doctor.

Candidates that lost for the same reason stand on one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solofile.runtime import kernels

_PARTS = ("gpu", "repack", "threads", "threads for prompts", "flash attention", "context", "NUMA")
"""Parts of a choice of which those that lost are worth a line; --json has all of them."""

Report = Mapping[str, Any]


def rows(report: Report) -> Iterator[tuple[str, str]]:
    """(what is not used, why not and what would change that)."""
    choice = report.get("choice", {})
    decisions = {one["part"]: one for one in choice.get("decisions", ())}
    if "kernel" in decisions:
        yield from kernel_rows(decisions["kernel"], report["hardware"]["features"])
    for part in _PARTS:
        for reason, names in _by_reason(decisions.get(part, {}).get("losers", ())).items():
            if part == "threads for prompts" and reason in _by_reason(decisions["threads"]["losers"]):
                continue
            yield _title(part, names), reason.removeprefix("is ")
    yield from _shader_rows(report)


def _title(part: str, names: Sequence[str]) -> str:
    text = ", ".join(names)
    if part == "repack":
        return "weights repacked" if text == "on" else "weights as in the file"
    if part in ("threads", "threads for prompts"):
        return f"{text} thread{'' if text == '1' else 's'}" + (" for prompts" if part != "threads" else "")
    if part in ("gpu", "NUMA"):
        return text if part == "gpu" else f"NUMA {text}"
    return f"{text} of context" if part == "context" else f"{part} {text}"


def kernel_rows(decision: Report, features: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The CPU variants that lost: by the feature that the CPU lacks, else by their reason."""
    have = frozenset(features)
    groups: dict[str, list[str]] = {}
    for one in decision["losers"]:
        lacks = kernels.missing(one["value"], have) if one["value"] in kernels.VARIANTS else []
        reason = f"this CPU lacks {kernels.feature_name(lacks[0])}" if lacks else one["reason"]
        groups.setdefault(reason, []).append(one["value"])
    for reason, names in groups.items():
        every = ", ".join(names)
        why = reason.removeprefix("is ")
        yield (f"{len(names)} kernels", f"{why} ({every})") if len(names) > 3 else (every, why)


def _by_reason(losers: Sequence[Report]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one in losers:
        groups.setdefault(one["reason"], []).append(one["value"])
    return groups


def _shader_rows(report: Report) -> Iterator[tuple[str, str]]:
    """What the compiler of a GPU backend's shaders could not do, which costs speed on GPUs that can."""
    for backend, facts in report["bundle"].get("gpus", {}).get(report["hardware"]["target"], {}).items():
        if facts["lacks"]:
            names = ", ".join(facts["lacks"])
            remedy = "GPUs that have it read prompts more slowly than they could; build with a newer glslc"
            yield f"{backend} shaders", f"compiled without {names}: {remedy}"
