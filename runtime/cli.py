"""The command line of a bundle: one function a mode, and the only place that prints errors and decides exit codes.

What is not needed before the engine loads is imported after it has begun to: the model then loads meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from solofile.runtime import boot, console, options, selection, settings
from solofile.runtime.confining import Front
from solofile.runtime.container import Bundle
from solofile.runtime.errors import SolofileError
from solofile.runtime.shutdown import BROKEN_PIPE, INTERRUPTED, Terminated

if TYPE_CHECKING:
    from solofile.runtime import memory, serving
    from solofile.runtime.engine_api import Engine


class Command(NamedTuple):
    """A command line and the world around it; ``start`` makes the engine."""

    words: tuple[str, ...]
    environ: Mapping[str, str]
    out: TextIO
    start: boot.Starter

    def bundle(self) -> Bundle:
        """The bundle, opened and checked, to the end of the process."""
        return Bundle.open(boot.bundle_path(self.environ))

    def launch(self, bundle: Bundle | None = None) -> settings.Launch:
        """What to do, with the bundle's defaults if there is one."""
        return settings.resolve(self.words, bundle.manifest if bundle else None, self.environ, _room)

    def begin(self, launch: settings.Launch, bundle: Bundle) -> boot.Started:
        """Start the engine for somebody at a terminal."""
        if not launch.sandbox:
            console.say(settings.NO_SANDBOX)
        return self.start(launch, bundle, self.environ, console.say, Front())

    @property
    def cache(self) -> Path:
        """The cache that the launcher found usable."""
        return selection.cache_folder(self.environ)

    def show(self, line: str) -> None:
        """Print a line of output at once."""
        self.out.write(line + "\n")
        self.out.flush()


def _room() -> memory.Room:
    """The memory that a model may take here."""
    from solofile.runtime import fitting, hardware

    return fitting.room(hardware.detect())


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    out: TextIO | None = None,
    start: boot.Starter = boot.start,
) -> int:
    """Do what the command line asks for and return the exit code: 0, 1 for a failure of ours, 2 for bad input.

    ``argv`` without the program's name. ``out`` stands for standard output; tests give another one, and another
    ``start``. The environment is the one of now: a GPU's libraries change that of the process (gpu_environment.py).
    """
    words = tuple(console.words(sys.argv[1:]) if argv is None else argv)
    mode = settings.PAGE
    try:
        mode = settings.mode_of(options.parse(words))
        known = _environment() if environ is None else environ
        return _MODES[mode](Command(words, known, out or sys.stdout, start))
    except SolofileError as error:
        console.say(str(error))
        return error.exit_code
    except BrokenPipeError:
        return BROKEN_PIPE
    except Terminated as end:
        return 0 if mode in settings.LASTING else end.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _environment() -> dict[str, str]:
    """The environment of now, without keys from here on: children get none of them."""
    known = dict(os.environ)
    for name in ("SOLOFILE_API_KEY", settings.GIVEN_KEYS):
        os.environ.pop(name, None)
    return known


def _serve(command: Command) -> int:
    bundle = command.bundle()
    launch = command.launch(bundle)
    host = _host(command, launch, bundle)
    if not host.find_place(command.words):
        return 0
    if command.start is boot.start and (ended := host.split()) is not None:
        return ended.code
    _say_model(launch)
    try:
        started = host.started(command.start)
    except SolofileError as error:
        if not host.shows_failures:
            host.leave()
            raise
        return host.show_failure(error)
    console.say(started.sentence)
    return host.run(started)


def _host(command: Command, launch: settings.Launch, bundle: Bundle) -> serving.Host:
    from solofile.runtime import serving

    world = (command.cache, command.environ, command.show, console.say)
    return serving.Host(launch, bundle, *world, command.words)


def _say_model(launch: settings.Launch) -> None:
    if launch.picked is not None:
        console.say(launch.picked.sentence)


def _remark(launch: settings.Launch, started: boot.Started) -> None:
    """Where only an answer is wanted: nothing but what is not as the user would expect."""
    if launch.log_level:
        _say_model(launch)
    sentence = started.sentence if launch.log_level else started.choice.note
    if sentence:
        console.say(sentence)


def _settle(launch: settings.Launch, started: boot.Started) -> None:
    """Wait for the model, and complete the sandbox. Raises EngineError for a model that cannot be loaded."""
    from solofile.runtime.conversation import wait_ready

    wait_ready(started.engine)
    lacks = started.seal()
    if lacks and launch.log_level:
        console.say(settings.shortfall(lacks))


def _chat(command: Command) -> int:
    bundle = command.bundle()
    launch = command.launch(bundle)
    engine = _split(command, launch, bundle)
    from solofile.runtime import chat

    template = settings.has_template(launch, bundle.manifest)
    title = bundle.manifest.title or bundle.manifest.name
    history = command.cache / "state" / "chat-history" if launch.history else None
    chat.start(
        engine, title, launch.system_prompt, command.out, template=template, history=history,
        greeting=bundle.manifest.greeting,
    )  # fmt: skip
    return 0


def _split(command: Command, launch: settings.Launch, bundle: Bundle) -> Engine:
    """The engine of a conversation: within the sandbox, while the terminal and what the user names are outside."""

    def begin() -> Engine:
        from solofile.runtime import cache

        started = command.begin(launch, bundle)
        _remark(launch, started)
        cache.prune_in_background(command.cache, started.in_use)
        if started.sandbox is not None:
            threading.Thread(target=_seal_when_loaded, args=(launch, started), daemon=True).start()
        return started.engine

    if not launch.sandbox or command.start is not boot.start or not hasattr(os, "fork"):
        return begin()
    from solofile.runtime import engine_host

    return engine_host.split(begin)


def _seal_when_loaded(launch: settings.Launch, started: boot.Started) -> None:
    with contextlib.suppress(SolofileError):  # a model that cannot be loaded is told to whoever asks
        _settle(launch, started)


def _prompt(command: Command) -> int:
    bundle = command.bundle()
    launch = command.launch(bundle)
    out = console.claim_stdout() if command.out is sys.stdout else command.out
    started = command.begin(launch, bundle)
    _remark(launch, started)
    from solofile.runtime import cache, oneshot

    question = oneshot.prompt_text(launch.prompt, oneshot.read_piped(launch.prompt, sys.stdin))
    turns = oneshot.messages(launch.system_prompt, question)
    _settle(launch, started)
    oneshot.answer_once(started.engine, turns, out, template=settings.has_template(launch, bundle.manifest))
    with contextlib.suppress(OSError):
        cache.tidy(command.cache, started.in_use)
    return 0


def _bench(command: Command) -> int:
    from solofile.runtime import bench

    bundle = command.bundle()
    launch = command.launch(bundle)
    out = console.claim_stdout() if command.out is sys.stdout else command.out
    _say_model(launch)
    if launch.compare:
        return _compare(command, launch, bundle, out)
    started = command.begin(launch, bundle)
    _settle(launch, started)
    facts = started.choice.report()["path"]
    plan = bench.plan_of(command.environ)
    bench.run(
        started.engine, started.sentence, out, as_json=launch.json, plan=plan, facts=facts, say=console.say,
        meter=console.Meter("Measuring", bench.WHOLE),
    )  # fmt: skip
    return 0


def _compare(command: Command, launch: settings.Launch, bundle: Bundle, out: TextIO) -> int:
    """No engine here: it would compute beside those that are compared."""
    from solofile.runtime import compare, kernels, projector

    place = selection.find_place(bundle, command.environ)
    launch = projector.placed(launch, place, console.say).launch
    decided = boot.decide(launch, place, command.environ, console.say)
    if decided.guard is not None:
        decided.guard.dismiss()  # from here on children compute, each with its own
    ground, chosen = decided.selection
    machine, names = ground.machine, ground.offer.variants
    able = [name for name in names if not kernels.missing(name, machine.features)]
    rejected = [(value, reason) for value, reason in chosen.of("kernel").losers if value not in able]
    first = compare.Candidate.of(chosen.path)
    counts = compare.thread_counts(machine.allowed_cores, machine.allowed)
    repacks = chosen.of("repack").value != "nothing to repack"
    every = compare.candidates(first, able, counts, repacks=repacks)
    words = compare.kept_words(command.words)
    if launch.picked is not None:
        words += ["--use", launch.picked.model.name]  # all candidates compute with the same
    compare.compare(
        every, rejected, words, out, environ=command.environ, as_json=launch.json, say=console.say,
        features=machine.features,
    )  # fmt: skip
    return 0


def _doctor(command: Command) -> int:
    from solofile.runtime import doctor

    report = doctor.examine(command.launch, command.environ)
    doctor.write(report, command.out, as_json=command.launch().json)
    return 0


def _rpc_worker(command: Command) -> int:
    from solofile.runtime import rpc_worker_mode

    bundle = command.bundle()
    rpc_worker_mode.run(command.launch(bundle), bundle, command.environ, command.show, console.say)
    return 0


def _verify(command: Command) -> int:
    from solofile.runtime import checks

    return checks.verify(command.bundle(), command.out)


def _extract(command: Command) -> int:
    from solofile.runtime import checks

    return checks.extract(command.bundle(), command.launch().extract_to, command.out)


def _licenses(command: Command) -> int:
    from solofile.runtime import licenses

    licenses.write(command.bundle(), command.out)
    return 0


def _cache_clear(command: Command) -> int:
    from solofile.runtime import cache

    launcher = command.environ.get("SOLOFILE_LAUNCHER_PID", "")
    own = {os.getpid(), *([int(launcher)] if launcher.isdigit() else [])}
    cache.clear(command.cache, own, command.show)
    return 0


def _help(command: Command) -> int:
    from solofile.runtime import help as help_text

    name = Path(command.environ.get("SOLOFILE_BUNDLE", "")).name or "model.exe"
    command.out.write(help_text.text(name))
    return 0


def _version(command: Command) -> int:
    from solofile.runtime.version import __version__

    manifest = command.bundle().manifest
    llama = manifest.llama_cpp
    command.show(f"{manifest.name}, made by solofile {manifest.solofile}; llama.cpp {llama.version} ({llama.commit})")
    if __version__ != manifest.solofile:
        command.show(f"Its runtime is of solofile {__version__}.")
    return 0


_MODES: dict[str, Callable[[Command], int]] = {
    settings.PAGE: _serve,
    settings.SERVER: _serve,
    settings.CHAT: _chat,
    settings.PROMPT: _prompt,
    settings.DOCTOR: _doctor,
    settings.BENCH: _bench,
    settings.VERIFY: _verify,
    settings.EXTRACT: _extract,
    settings.LICENSES: _licenses,
    settings.CACHE_CLEAR: _cache_clear,
    settings.RPC_WORKER: _rpc_worker,
    settings.HELP: _help,
    settings.VERSION: _version,
}
