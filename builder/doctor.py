"""``solofile doctor``: what a build would use on this machine, and what it lacks."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from solofile.builder import inputs, native
from solofile.builder.errors import BuildError
from solofile.builder.freezing import TOOLS
from solofile.builder.libpython import base_python, library_origin
from solofile.builder.native_tree import FREE_BYTES
from solofile.builder.paths import build_cache
from solofile.builder.progress import byte_size
from solofile.builder.targets import TARGETS, find_kernels
from solofile.builder.tools import machine_jobs
from solofile.builder.vulkan_kit import kit_origin
from solofile.runtime.hardware import detect


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``remedy`` is empty when nothing is wrong with it."""

    name: str
    found: str
    remedy: str = ""


def doctor_command(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if a build could not be done."""
    findings = list(examine())
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        print(page(findings), end="")
    return int(any(finding.remedy for finding in findings))


def page(findings: list[Finding]) -> str:
    """The findings as lines for people."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"{finding.name:<{width}}  {finding.found}" + (f" — {finding.remedy}" if finding.remedy else "")
        for finding in findings
    ]
    wrong = sum(1 for finding in findings if finding.remedy)
    end = "A build can be done here." if not wrong else f"{wrong} of these must be put right before a build."
    return "\n".join([*lines, "", end, ""])


def examine() -> Iterator[Finding]:
    """Look at everything that a build needs."""
    machine = detect()
    supported = machine.target in TARGETS
    yield Finding("target", machine.target, "" if supported else f"builds run on {', '.join(TARGETS)}")
    yield Finding("processor", f"{machine.cpu}: {machine_jobs()} compilers at once")
    yield _python()
    yield _pip()
    missing = [name for name in TOOLS if not shutil.which(name)]
    found = "there" if not missing else f"no {', no '.join(missing)}"
    yield Finding("binutils", found, "install binutils" if missing else "")
    yield _gpu()
    yield _space()
    if supported:
        yield from _built(machine.target)


def _python() -> Finding:
    text = f"{sys.version.split()[0]} at {base_python()}"
    try:
        return Finding("python", f"{text}, libpython: {library_origin()}")
    except BuildError as error:
        return Finding("python", text, str(error))


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
