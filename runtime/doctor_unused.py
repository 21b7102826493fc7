"""What the machine or the bundle has and a start does not use, each with what would make it used: a part of --doctor.

Candidates that lost for the same reason stand on one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solofile.runtime import kernels

_PARTS = ("model", "gpu", "repack", "threads", "threads for prompts", "flash attention", "context", "NUMA")
"""Parts of a choice of which those that lost are worth a line; --json has all of them."""

Report = Mapping[str, Any]


def rows(report: Report) -> Iterator[tuple[str, str]]:
    """(what is not used, why not and what would change that)."""
    choice = report.get("choice", {})
    decisions = {one["part"]: one for one in choice.get("decisions", ())}
    if "kernel" in decisions:
        yield from kernel_rows(decisions["kernel"], report["hardware"]["features"])
    groups: dict[str, list[str]] = {}
    for part in _PARTS if decisions else ():
        for one in decisions.get(part, {}).get("losers", ()):
            if part != "threads for prompts" or one not in decisions["threads"]["losers"]:
                groups.setdefault(one["reason"], []).append(_title(part, one["value"]))
    for reason, names in groups.items():
        yield ", ".join(names), reason.removeprefix("is ")
    yield from _unseen_rows(choice, report["hardware"]["gpus"])
    yield from _shader_rows(report)


def _unseen_rows(choice: Report, gpus: Sequence[Report]) -> Iterator[tuple[str, str]]:
    """GPUs of the machine that a backend does not show although it shows others, by their places on the bus."""
    for backend, probe in choice.get("probes", {}).items():
        devices = (probe["result"] or {}).get("devices") if ":" not in backend else None
        places = {one.get("id") for one in devices or ()} - {"", None}
        for gpu in gpus if places else ():
            if gpu["node"] not in places:
                missing = f"{backend} does not show it: install its {backend} driver"
                yield gpu["name"], missing if gpu["driver"] else "no driver has taken it: install one"


def _title(part: str, value: str) -> str:
    if part == "repack":
        return "repacking" if value == "on" else "no repacking"
    if part in ("threads", "threads for prompts"):
        return f"{value} thread{'' if value == '1' else 's'}" + (" for prompts" if part != "threads" else "")
    if part in ("model", "gpu"):
        return value
    return {"flash attention": f"flash {value}", "NUMA": f"NUMA {value}"}.get(part, f"{part} {value}")


def kernel_rows(decision: Report, features: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The CPU variants that lost: those it cannot run by the feature that it lacks, others by their reason."""
    have = frozenset(features)
    lacking: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for one in decision["losers"]:
        lacks = kernels.missing(one["value"], have) if one["value"] in kernels.VARIANTS else []
        groups = lacking if lacks else reasons
        key = kernels.feature_name(lacks[0]) if lacks else one["reason"].removeprefix("is ")
        groups.setdefault(key, []).append(one["value"])
    if lacking:
        each = "; ".join(f"{feature} ({', '.join(names)})" for feature, names in lacking.items())
        yield _kernels(sum(map(len, lacking.values()))), f"this CPU lacks {each}"
    for reason, names in reasons.items():
        every = ", ".join(names)
        yield (_kernels(len(names)), f"{reason} ({every})") if len(names) > 3 else (every, reason)


def _kernels(count: int) -> str:
    return f"{count} kernel{'' if count == 1 else 's'}"


def _shader_rows(report: Report) -> Iterator[tuple[str, str]]:
    """What the compiler of a GPU backend's shaders could not do, which costs speed on GPUs that can."""
    for backend, facts in report.get("bundle", {}).get("gpus", {}).get(report["hardware"]["target"], {}).items():
        if facts["lacks"]:
            names = ", ".join(facts["lacks"])
            remedy = "GPUs that have it read prompts more slowly than they could; build with a newer glslc"
            yield f"{backend} shaders", f"compiled without {names}: {remedy}"
