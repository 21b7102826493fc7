"""The mode --doctor: what this machine has, what was chosen for it and why, and how the bundle and the cache are.

It reports; it loads no model. Whatever cannot be found out is said in its place and stops nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from solofile.runtime import boot, cache, console, hardware, kernels, selection
from solofile.runtime.container import Bundle
from solofile.runtime.errors import SolofileError
from solofile.runtime.hardware import Hardware
from solofile.runtime.settings import Launch
from solofile.runtime.version import __version__

Report = dict[str, Any]


def examine(resolve: Callable[[Bundle | None], Launch], environ: Mapping[str, str]) -> Report:
    """Everything that is known, as plain data. A section that failed is ``{"error": sentence}``.

    ``resolve`` makes a launch of the command line, with the defaults of a bundle if there is one.
    """
    report: Report = {"solofile": __version__, "hardware": _hardware(_machine(environ))}
    bundle = _or_error(lambda: Bundle.open(boot.bundle_path(environ)))
    if isinstance(bundle, Bundle):
        launch = resolve(bundle)
        report["choice"] = _or_error(lambda: _choice(launch, selection.find_place(bundle, environ), environ))
        report["bundle"] = _bundle(bundle)
    else:
        resolve(None)
        report["bundle"] = bundle
    report["cache"] = _or_error(lambda: _cache(selection.cache_folder(environ)))
    return report


def _machine(environ: Mapping[str, str]) -> Hardware:
    """This machine, by the CPU's own word where the native libraries are there to ask it."""
    from solofile.runtime import bridge, native_probe

    try:
        library = bridge.load(selection.native_folder(environ))
    except SolofileError:
        return hardware.detect()
    return hardware.detect(cpu=lambda: native_probe.cpu(library))


def _or_error(find: Callable[[], Any]) -> Any:
    try:
        return find()
    except (SolofileError, OSError) as error:
        return {"error": str(error)}


def _hardware(machine: Hardware) -> Report:
    known = {flag for flags in kernels.FLAGS.values() for flag in flags}
    return {
        "target": machine.target,
        "summary": hardware.describe(machine),
        "cpu": machine.cpu,
        "features": sorted(machine.features & known),
        "cores": machine.cores,
        "allowed_cpus": machine.allowed,
        "allowed_cores": machine.allowed_cores,
        "container_limit": machine.quota,
        "threads": machine.threads,
        "memory_total": machine.memory_total,
        "memory_available": machine.memory,
        "memory_limit": machine.memory_limit,
        "caches": [one._asdict() for one in machine.caches],
        "gpus": [one._asdict() for one in machine.gpus],
    }


def _choice(launch: Launch, place: selection.Place, environ: Mapping[str, str]) -> Report:
    """What computes and why, what was measured, and the memory that it takes."""
    notes: list[str] = []
    ground = selection.survey(launch, place, environ)
    chosen = selection.select(ground, notes.append)
    report = {**chosen.choice.report(), "calibration": chosen.ground.known.calibration}
    report["memory"] = _or_error(lambda: _memory(launch, chosen, notes.append))
    return report | {"notes": notes}


def _memory(launch: Launch, chosen: selection.Selection, say: Callable[[str], None]) -> Report:
    from solofile.runtime import followup, memory

    libraries = [library for library, _ in selection.libraries(chosen, say)]
    os.environ.update(chosen.choice.path.environment)  # before a library reads it
    guard = followup.guard(launch, chosen, console.say)
    try:
        found = boot.estimator(launch, chosen, libraries)(0)
    finally:
        if guard is not None:
            guard.dismiss()
    return memory.table(found, boot.room(chosen.ground.machine), chosen.choice.path.cache_ram)


def _bundle(bundle: Bundle) -> Report:
    manifest = bundle.manifest
    return {
        "path": bundle.path,
        "size": Path(bundle.path).stat().st_size,
        "name": manifest.name,
        "built_by": manifest.solofile,
        "llama_cpp": {"version": manifest.llama_cpp.version, "commit": manifest.llama_cpp.commit},
        "targets": {name: target.requires for name, target in manifest.targets.items()},
        "models": [
            {
                "name": model.name,
                "architecture": model.architecture,
                "parameters": model.parameters,
                "quantization": model.quantization,
                "context_length": model.context_length,
                "chat_template": model.chat_template,
                "license": model.license,
                "size": model.size,
            }
            for model in manifest.models
        ],
        "arguments": list(manifest.arguments),
    }


def _cache(folder: Path) -> Report:
    found = os.statvfs(folder) if hasattr(os, "statvfs") else None
    state = folder / "state"
    return {
        "path": str(folder),
        "writable": os.access(folder, os.W_OK),
        "free": found.f_bavail * found.f_frsize if found else None,
        "folders": [
            {"path": str(entry.path), "size": _size(entry.path), "unfinished": entry.leftover}
            for entry in cache.entries(folder)
        ],
        "crashes": sorted(str(path) for path in state.glob("crash-*")) if state.is_dir() else [],
    }


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def write(report: Report, out: TextIO, *, as_json: bool) -> None:
    """Print a report, for a program or for a person."""
    out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n" if as_json else "\n".join(lines(report)) + "\n")


def lines(value: Any, depth: int = 0) -> list[str]:
    """A report as indented text."""
    margin = "  " * depth
    if isinstance(value, dict):
        found = []
        for key, item in value.items():
            name = key.replace("_", " ") if key.isidentifier() else key
            nested = isinstance(item, dict) or (isinstance(item, list) and any(isinstance(one, dict) for one in item))
            found += [f"{margin}{name}:", *lines(item, depth + 1)] if nested else [f"{margin}{name}: {_plain(item)}"]
        return found
    return [f"{margin}{_plain(first)}: {', '.join(map(_plain, rest))}" for first, *rest in map(dict.values, value)]


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(one) for one in value) or "-"
    return str(value)
