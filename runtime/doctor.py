"""The mode --doctor: what this machine has, what was chosen for it and why, and how the bundle and the cache are.

It reports; it loads no model. Whatever cannot be found out is said in its place and stops nothing else. The report is
what ``--doctor --json`` prints and what doctor_text.py makes one screen of. Sizes are in bytes, and a section that
could not be found out is ``{"error": sentence}``:

    {"format": 1, "solofile": version, "problems": [sentences],
     "hardware": {"target", "summary", "cpu", "vendor", "features": [Linux's names], "sockets", "cores", "logical",
                  "performance_cores", "efficiency_cores", "allowed_cpus", "allowed_cores", "container_limit": CPUs,
                  "threads", "memory_total", "memory_available", "memory_limit", "swap_free",
                  "caches": [hardware.Cache], "numa": [hardware.NumaNode], "gpus": [hardware.Gpu]},
     "choice": {"sentence": the line of a start, "note": what memory changed, "refused": why it would not be loaded,
                "path": {kernel_path.KernelPath},
                "decisions": [{"part", "value", "reason", "losers": [{"value", "reason"}]}],
                "calibration": {sf_calibration's result, "path", "date"} or null,
                "probes": {key: {"status", "detail", "result", "date"}}, "crashes": {key: sentence},
                "memory": {memory.table} or error, "notes": [sentences],
                "prompts": [{"path", "tokens", "kernel": that made it, "reason": why it is not used, or empty}],
                "workers": [{"address", "solofile", "llama_cpp": commit, "devices": [rpc_handshake.Device]}]},
     "bundle": {"path", "size", "name", "title", "built_by", "llama_cpp", "targets": {name: oldest system},
                "kernels": {target: [variants]}, "gpus": {target: {backend: manifest.Gpu}}, "models": [manifest.Model],
                "default_model", "arguments"},
     "sandbox": {"wanted", "files", "calls": does each step hold?, "landlock": its level, 0 for none,
                 "lacks": [why not more, or what is lost without]},
     "cache": {"path", "writable", "free", "folders": [{"path", "size", "unfinished"}], "crashes": [paths]}}

Keys may be added without another format.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from solofile.runtime import (
    boot,
    cache,
    console,
    doctor_text,
    fitting,
    hardware,
    hardware_report,
    localcopy,
    memory,
    projector,
    selection,
)
from solofile.runtime.container import Bundle
from solofile.runtime.errors import SolofileError
from solofile.runtime.hardware import Hardware
from solofile.runtime.memory import Fit
from solofile.runtime.selection import Selection
from solofile.runtime.settings import SERVER, Launch
from solofile.runtime.version import __version__

if TYPE_CHECKING:
    from solofile.runtime.rpc_client import Workers

FORMAT = 1
Report = dict[str, Any]


def examine(resolve: Callable[[Bundle | None], Launch], environ: Mapping[str, str]) -> Report:
    """Everything that is known, as plain data.

    ``resolve`` makes a launch of the command line, with the defaults of a bundle if there is one.
    """
    report: Report = {"format": FORMAT, "solofile": __version__, "problems": []}
    report["hardware"] = hardware_report.report(_machine(environ))
    bundle = _or_error(lambda: Bundle.open(boot.bundle_path(environ)))
    if isinstance(bundle, Bundle):
        launch = resolve(bundle)
        report["sandbox"] = _or_error(lambda: _sandbox(launch, selection.find_place(bundle, environ)))
        report["choice"] = _or_error(lambda: _choice(launch, selection.find_place(bundle, environ), environ))
        report["bundle"] = _bundle(bundle)
    else:
        resolve(None)
        report["bundle"] = bundle
    report["cache"] = _or_error(lambda: _cache(selection.cache_folder(environ)))
    return report | {"problems": list(problems(report))}


def _sandbox(launch: Launch, place: selection.Place) -> Report:
    """What of the sandbox a start gets here; asked for while there is one thread, as a start does."""
    from solofile.runtime import confining, sandbox

    return sandbox.report(confining.needs_of(launch, place, gpu=False), wanted=launch.sandbox)


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


def _choice(launch: Launch, place: selection.Place, environ: Mapping[str, str]) -> Report:
    """What computes and why, as a start would choose it, what is known of the candidates, and the memory it takes."""
    notes: list[str] = []

    def say(sentence: str) -> None:
        notes.append(sentence)
        console.say(sentence)  # a first look at a GPU takes seconds

    launch, _, lock = projector.placed(launch, place, say)
    workers = None
    if launch.rpc is not None:
        from solofile.runtime import sharing

        workers, environ = sharing.gather(launch.rpc, place, environ, say)
    ground = selection.survey(launch, place, environ)
    selected = selection.select(ground, say)
    os.environ.update(selected.choice.path.environment)  # as a start does, before a library reads it
    try:
        selected, fit, table = _fitted(launch, selected, say, workers)
    except (SolofileError, OSError) as error:
        fit, table = None, {"error": str(error)}
    if lock is not None:
        lock.close()
    known = selected.ground.known
    report = selected.choice.report()
    if launch.picked is not None:
        report["decisions"] = [launch.picked.report(), *report["decisions"]]
    return {
        **report,
        "refused": fit.refusal if fit is not None else "",
        "calibration": known.calibration,
        "probes": {key: one._asdict() for key, one in known.probes.items()},
        "crashes": dict(known.crashes),
        "memory": table,
        "notes": notes,
        "prompts": _prompts(launch, place.bundle, selected),
        "workers": workers.report() if workers is not None else [],
    }


def _prompts(launch: Launch, bundle: Bundle, selected: Selection) -> list[Report]:
    """The stored prompts of the bundle, each with the reason for which a server would not use it, empty if it would."""
    if not bundle.manifest.prompts:
        return []
    from solofile.runtime import prompt_restore

    found = prompt_restore.plan(launch._replace(mode=SERVER), bundle, selected.choice)
    reasons = dict(found.refused)
    return [
        {"path": one.path, "tokens": one.tokens, "kernel": one.kernel, "reason": reasons.get(one.path, "")}
        for one in bundle.manifest.prompts
    ]


def _fitted(
    launch: Launch, selected: Selection, say: Callable[[str], None], workers: Workers | None
) -> tuple[Selection, Fit | None, Report]:
    """The choice with what memory decides in it, how it fits, and the table of what goes where."""
    found = selection.libraries(selected, say)
    libraries = [library for library, _ in found]
    guard = boot.guarded(launch, selected, console.say)
    team = None
    try:
        if workers is not None:
            from solofile.runtime import sharing

            selected, team = sharing.share(launch, selected, workers, libraries, sharing.backend(selected, say))
        done = fitting.fitted(launch, selected, libraries, say)
        choice = done.selection.choice
        estimate = fitting.estimator(launch, selected, libraries)(0) if done.fit is None else done.fit.estimate
        if done.fit is not None and done.fit.refusal and done.fit.full is not None:
            estimate = done.fit.full
        if team is not None:
            estimate = team.named(estimate)
        mapped = choice.path.load_mode == "auto" or "mmap" in choice.path.load_mode
        room, shared = fitting.room(selected.ground.machine), fitting.shared_gpus(selected)
        table = memory.table(estimate, room, choice.path.cache_ram, mapped=mapped, shared=shared)
        return done.selection, done.fit, table
    finally:
        if guard is not None:
            guard.dismiss()
        for lock in (*(lock for _, lock in found), team.lock if team is not None else None):
            if lock is not None:
                lock.close()


def _bundle(bundle: Bundle) -> Report:
    manifest = bundle.manifest
    return {
        "path": bundle.path,
        "size": Path(bundle.path).stat().st_size,
        "name": manifest.name,
        "title": manifest.title,
        "built_by": manifest.solofile,
        "llama_cpp": {"version": manifest.llama_cpp.version, "commit": manifest.llama_cpp.commit},
        "targets": {name: target.requires for name, target in manifest.targets.items()},
        "kernels": {name: list(target.kernels) for name, target in manifest.targets.items()},
        "gpus": {
            name: {gpu: dataclasses.asdict(facts) for gpu, facts in target.gpus.items()}
            for name, target in manifest.targets.items()
        },
        "models": [dataclasses.asdict(model) for model in manifest.models],
        "default_model": manifest.default_model,
        "arguments": list(manifest.arguments),
    }


def _cache(folder: Path) -> Report:
    state = folder / "state"
    return {
        "path": str(folder),
        "writable": os.access(folder, os.W_OK),
        "free": localcopy.free_bytes(folder),
        "folders": [
            {"path": str(entry.path), "size": _size(entry.path), "unfinished": entry.leftover}
            for entry in cache.entries(folder)
        ],
        "crashes": sorted(str(path) for path in state.glob("crash-*")) if state.is_dir() else [],
    }


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def problems(report: Report) -> Iterator[str]:
    """What is not as it should be, as sentences."""
    choice, kept = report.get("choice", {}), report["cache"]
    for section in (report["bundle"], choice, choice.get("memory", {}), kept):
        if "error" in section:
            yield section["error"]
    for sentence in (choice.get("refused", ""), choice.get("note", "")):
        if sentence:
            yield sentence
    for key, what in choice.get("crashes", {}).items():
        again = f"--gpu {key.partition(':')[0]}" if ":" in key else f"--kernel {key}"
        yield f"{key.rpartition(':')[2]} {what}, so it is not used: {again} tries it again."
    if "path" in kept and not kept["writable"]:
        yield f"The cache {kept['path']} cannot be written to: what is measured is measured again at every start."
    notes = kept.get("crashes", ())
    if notes:
        yield (
            f"A run that crashed left a note: {notes[-1]}."
            if len(notes) == 1
            else (f"{len(notes)} runs that crashed left notes, the last of them {notes[-1]}.")
        )


def write(report: Report, out: TextIO, *, as_json: bool) -> None:
    """Print a report, for a program or for a person."""
    out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n" if as_json else doctor_text.page(report))
