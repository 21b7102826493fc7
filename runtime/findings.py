"""What a start has found out, in the shape in which remembered.py keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import kernels
from solofile.runtime.kernel_path import HUNG, ILLEGAL, OK, UNTRIED, Outcome

if TYPE_CHECKING:
    from solofile.runtime.hardware import Hardware
    from solofile.runtime.kernel_path import KernelPath

Changes = dict[str, Any]

DISTURBED = 0.1
"""The share of the CPUs that others may have while something is measured."""


def today() -> str:
    """The date, such as 2025-01-31."""
    import time

    return time.strftime("%Y-%m-%d")


def of_probes(outcomes: Mapping[str, Outcome], model: str) -> Changes:
    """How each probe ended, for the machine, and what it measured, for this ``model``.

    What may only have been bad luck is tried again at the next start: a process that could not be started or was given
    up, and a CPU variant that did not answer in time, as on a machine that is busy with other things. So is what takes
    no time to try, a library that is looked for and not there.
    """
    probes: dict[str, Changes] = {}
    results: dict[str, Changes] = {}
    for key, one in outcomes.items():
        is_cpu = key.partition("-norepack")[0] in kernels.VARIANTS
        if one.status == UNTRIED or (one.status == HUNG and is_cpu) or "absent" in (one.result or {}):
            continue
        probes[key] = {"status": one.status, "detail": one.detail, "date": one.date}
        if one.status == OK and one.result is not None and "seconds" in one.result:
            results[key] = dict(one.result)
        elif one.result is not None:
            probes[key]["result"] = dict(one.result)
    changes: Changes = {"probes": probes} if probes else {}
    return changes | ({"models": {model: {"used": today(), "probes": results}}} if results else {})


def of_calibration(result: Mapping[str, Any], model: str, path: KernelPath, others: float = 0.0) -> Changes:
    """What a calibration measured on this path; nothing where it was interrupted.

    Nothing either where ``others`` had more than a little of the CPUs (other_load.py): then the fewest threads win,
    which would be wrong for later starts.
    """
    if result.get("interrupted") or others > DISTURBED:
        return {}
    return {"models": {model: {"used": today(), "calibration": {**result, "path": path.key, "date": today()}}}}


def of_crash(culprit: str, what: str, launcher: str, *, signal: str = "") -> Changes:
    """Something in use ended a run: ``what`` is a predicate, such as ``crashed (SIGSEGV)``.

    A GPU is to blame for whatever happens while it computes; a CPU variant only for an instruction that the CPU lacks.
    """
    if not culprit or (":" not in culprit and signal != ILLEGAL):
        return {}
    return {"crashes": {culprit: {"what": what, "date": today(), "launcher": launcher}}}


def of_use(document: Mapping[str, Any], model: str, machine: Hardware) -> Changes:
    """That the model was used today, and the machine's name for people; nothing where that is known."""
    used = document.get("models", {}).get(model, {}).get("used")
    if used == today() and "machine" in document:
        return {}
    return {"machine": {"cpu": machine.cpu, "cores": machine.cores}, "models": {model: {"used": today()}}}
