"""Trying one thing that a start needs to know and nobody remembers (probe_plan.py says what)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime import other_load
from solofile.runtime.findings import DISTURBED, today
from solofile.runtime.kernel_path import MISSING, Outcome, tried

if TYPE_CHECKING:
    from solofile.runtime.kernel_path import Offer
    from solofile.runtime.probe_plan import Probe, Run, Say


def attempt(probe: Probe, offer: Offer, run: Run, say: Say, root: str = "/") -> Outcome:
    """Try one thing; a library of the system that it needs and that is not there needs no child process to tell."""
    absent = lacking(offer.needs.get(probe.backend, ()), root)
    if absent:
        return Outcome(MISSING, f"there is no {absent[0]} here", {"absent": absent}, today())
    if probe.backend:
        say(f"Trying {probe.shown} on this machine, which takes up to {probe.timeout:g} s and is done once.")
    watch = other_load.Watch(root)
    outcome = run(probe)
    return outcome._replace(date=today(), result=kept(probe, outcome, disturbed=watch.share() > DISTURBED))


def fault(probe: Probe, outcome: Outcome) -> str:
    """What a person is told of an attempt that did not go well; empty where it did.

    Nothing is said of a library that was looked for and is not there, as on every machine without such a GPU.
    """
    why = tried(outcome)
    if not why or (outcome.result is not None and "absent" in outcome.result):
        return ""
    option = f"--gpu {probe.backend}" if probe.backend else f"--kernel {probe.variant}"
    return f"{probe.shown} {why}: {option} tries it again."


def kept(probe: Probe, outcome: Outcome, *, disturbed: bool) -> Mapping[str, Any] | None:
    """What of a result counts: the devices of a listing, what was measured, or nothing but that it went well.

    What others have ``disturbed`` says nothing of speed: threads that wait for each other take many times as long then.
    """
    if outcome.result is None or not probe.measure:
        return outcome.result
    return {**outcome.result, "quick": probe.quick} if probe.comparable and not disturbed else None


def lacking(needs: tuple[str, ...], root: str = "/") -> list[str]:
    """Those of these shared libraries that the system's loader would not find; none is loaded."""
    if not needs or sys.platform not in ("linux", "win32"):
        return []
    if sys.platform == "win32":
        return absent_from(_system_folder(), needs)
    from solofile.runtime import vulkan_files

    return [name for name in needs if not vulkan_files.loaders(root, name)]


def absent_from(folder: str, names: tuple[str, ...]) -> list[str]:
    """Those of these files that are not in the folder, the only one where Windows looks for a bundle
    (starter/program.c: SetDefaultDllDirectories)."""
    return [name for name in names if not os.path.isfile(f"{folder}/{name}")]  # noqa: PTH113 - no pathlib here


def _system_folder() -> str:
    """``C:\\Windows\\System32``, by Windows itself and not by the environment."""
    if sys.platform != "win32":
        return ""
    import ctypes

    text = ctypes.create_unicode_buffer(1 << 15)
    ctypes.windll.kernel32.GetSystemDirectoryW(text, len(text))
    return text.value
