"""``solofile doctor``: what this machine has, what a bundle would choose on it, and what a build needs and lacks.

``--json`` prints ``{"findings": [{"name", "found", "remedy"}], "hardware": {…}, "choice": {"path", "decisions", …}}``,
the last two as a bundle's ``--doctor --json`` does (runtime/doctor.py), the choice null where no bundle can be built.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solofile.builder import carried, cpython_wheels, doctor_choice, inputs, native
from solofile.builder.errors import BuildError
from solofile.builder.freezing import TOOLS
from solofile.builder.libpython import base_python, library_origin
from solofile.builder.native_tree import FREE_BYTES
from solofile.builder.paths import build_cache
from solofile.builder.progress import byte_size
from solofile.builder.targets import TARGETS, find_kernels
from solofile.builder.tools import machine_jobs
from solofile.builder.vulkan_kit import kit_origin
from solofile.runtime import text_columns


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``remedy`` is empty when nothing is wrong with it."""

    name: str
    found: str
    remedy: str = ""


def doctor_command(arguments: argparse.Namespace) -> int:
    """Print what this machine has, what a bundle would choose on it, and the findings; 1 if a build cannot be done."""
    seen = doctor_choice.look()
    findings = list(examine(seen))
    report = {"findings": [dataclasses.asdict(finding) for finding in findings], **doctor_choice.report(seen.machine)}
    print(
        json.dumps(report, indent=1) if arguments.json else page(findings, report), end="\n" if arguments.json else ""
    )
    return int(any(finding.remedy for finding in findings))


def page(findings: list[Finding], report: Mapping[str, Any]) -> str:
    """All of it as lines for people."""
    rows = [
        (finding.name, f"! {finding.found}: {finding.remedy}" if finding.remedy else finding.found)
        for finding in findings
    ]
    wrong = sum(1 for finding in findings if finding.remedy)
    end = "A build can be done here." if not wrong else f"{wrong} of these, marked !, must be put right before a build."
    return text_columns.joined(
        [*doctor_choice.blocks(report), text_columns.block("What a build needs", text_columns.columns(rows)), [end]]
    )


def examine(seen: doctor_choice.Seen) -> Iterator[Finding]:
    """Look at everything that a build needs."""
    machine = seen.machine
    supported = machine.target in TARGETS
    yield Finding("target", machine.target, "" if supported else f"builds run on {', '.join(TARGETS)}")
    yield Finding("CPU features", seen.source, seen.fault)
    if carried.executable() is not None:  # it compiles nothing
        yield from _carried()
        return
    yield Finding("compilers", f"{machine_jobs()} at once")
    yield _python()
    yield _pip()
    yield _binutils()
    yield _source(machine.target)
    yield _gpu()
    yield _space()
    if supported:
        yield from _built(machine.target)


def _carried() -> Iterator[Finding]:
    for pack in carried.carried_packs():
        with pack:
            yield Finding("pack carried", carried.described(pack))


def _python() -> Finding:
    text = f"{sys.version.split()[0]} at {base_python()}"
    try:
        return Finding("python", f"{text}, libpython: {library_origin()}")
    except BuildError as error:
        return Finding("python", text, str(error))


def _binutils() -> Finding:
    missing = [name for name in TOOLS if not shutil.which(name)]
    found = "there" if not missing else f"no {', no '.join(missing)}"
    return Finding("binutils", found, "install binutils" if missing else "")


def _source(target: str) -> Finding:
    """Where the Python part of packs comes from."""
    if cpython_wheels.available(target):
        return Finding("Python of packs", f"{cpython_wheels.MINOR} from the package index, for glibc 2.17")
    return Finding("Python of packs", "this one, for systems with a glibc as new as this one's")


def _pip() -> Finding:
    try:
        return Finding("pip", version("pip"))
    except PackageNotFoundError:
        return Finding("pip", "not there", f"{sys.executable} -m ensurepip")


def _gpu() -> Finding:
    """Nothing is wrong without it: most builds have no GPU backend."""
    return Finding("GPU backends", f"vulkan, with {kit_origin()}")


def _space() -> Finding:
    folder = build_cache()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    remedy = f"a first build takes {byte_size(FREE_BYTES)}: make room, or set SOLOFILE_BUILD_CACHE"
    fresh = not (folder / "sources" / inputs.LLAMA.stem).is_dir()
    return Finding("build cache", f"{folder}, {byte_size(free)} free", remedy if fresh and free < FREE_BYTES else "")


def _built(target: str) -> Iterator[Finding]:
    kernels = find_kernels(TARGETS[target], "host")
    yield Finding("kernels for this machine", ", ".join(kernels))
    done = native.built_kernels(target)
    yield Finding("native libraries", f"built, with {', '.join(done)}" if done else "not built yet: takes minutes")
    packs = list(Path(build_cache(), "packs").glob("*/pack.zip"))
    yield Finding("packs", f"{len(packs)} made")
