"""From the file that was started to the runtime that runs out of the cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from solofile.runtime.cache import COMPILED
from solofile.runtime.errors import SolofileError
from solofile.runtime.locks import Lock
from solofile.runtime.pylauncher import environment, machine, places, signature, store, supervise
from solofile.runtime.pylauncher.bundle_file import BundleFile, open_bundle
from solofile.runtime.pylauncher.sums import Group, group

PYTHON = "python"
START = "solofile_start.py"
PROGRAM = "solofile-runtime"
INTERRUPTED = 130


def run(path: str, *, own_python: bool) -> None:
    """Start the bundle at ``path`` and end this process with its exit code.

    ``own_python``: the runtime runs in this Python; else a frozen one is started.
    """
    try:
        code = _run(os.path.abspath(path), sys.argv[1:], own_python=own_python)  # noqa: PTH100 - as it was started
    except SolofileError as error:
        say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        say("Stopped before the runtime was unpacked.")
        code = INTERRUPTED
    sys.exit(code)


def say(text: str) -> None:
    """A line for whoever started the bundle."""
    if sys.stderr is not None:
        sys.stderr.write(f"solofile: {text}\n")
        sys.stderr.flush()


def _run(path: str, words: Sequence[str], *, own_python: bool) -> int:
    bundle = open_bundle(path)
    signature.check(bundle, words, say)
    target = machine.target_of(*machine.this_machine(), _targets(bundle))
    if own_python:
        machine.check_python()
    groups = [group(bundle, name) for name in ((PYTHON, target) if own_python else (target,))]
    system = target.partition("-")[0]
    size = sum(one.megabytes for one in groups)
    cache = places.choose(os.environ, system, [one.digest for one in groups], size, say)
    held = [store.acquire(cache, bundle, one, say) for one in groups]
    job = _in_this_python(bundle, cache, groups, held) if own_python else _frozen(bundle, cache, held[0][0], target)
    return supervise.run(job._replace(words=tuple(words)), say)


def _targets(bundle: BundleFile) -> list[str]:
    lists = (name.removeprefix("runtime/").removesuffix(".sums") for name in bundle.members if name.endswith(".sums"))
    return [name for name in lists if "/" not in name and name != PYTHON]


def _in_this_python(
    bundle: BundleFile, cache: str, groups: Sequence[Group], held: Sequence[tuple[Path, Lock | None]]
) -> supervise.Job:
    """The runtime in the Python that runs this, which sees nothing of what else is installed for it."""
    (modules, _), (native, _) = held
    compiled = os.path.join(cache, COMPILED, groups[0].digest)  # noqa: PTH118
    options = ("-I", "-S", "-X", "utf8", "-X", f"pycache_prefix={compiled}")
    facts = _facts(bundle.path, cache) | {"SOLOFILE_NATIVE_DIR": str(native / "native")}
    environ = environment.for_runtime(os.environ, facts, same_python=True)
    return supervise.Job((sys.executable, *options, str(modules / START)), None, (), environ, cache, bundle.path)


def _frozen(bundle: BundleFile, cache: str, folder: Path, target: str) -> supervise.Job:
    """The frozen runtime for this machine; on Windows a Cosmopolitan Python names files in a way of its own."""
    windows = target.startswith("windows")
    program = folder / (f"{PROGRAM}.exe" if windows else PROGRAM)
    path, place = (machine.windows_path(one) if windows else one for one in (bundle.path, cache))
    environ = environment.for_runtime(os.environ, _facts(path, place), same_python=False)
    return supervise.Job((path,), str(program), (), environ, cache, path)


def _facts(path: str, cache: str) -> dict[str, str]:
    """What the runtime is told."""
    return {
        "SOLOFILE_BUNDLE": path,
        "SOLOFILE_CACHE_DIR": cache,
        "SOLOFILE_LAUNCHER_PID": str(os.getpid()),
    }
