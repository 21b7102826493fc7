"""Runs the programs of a build with their progress on one line; of their output only a failure's end is shown."""

from __future__ import annotations

import collections
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from solofile.builder.errors import ToolError
from solofile.builder.progress import Progress

SHOWN_LINES = 30
GIGABYTES_A_JOB = 1.0
"""Memory that one compiler may take: llama.cpp's largest sources need 0.8 GB."""

_STEP = re.compile(r"\[(\d+)/(\d+)\] ")

ProgressMaker = Callable[[str, int | None, str], Progress]
"""Makes the progress line of an operation from its label, total and unit: the class Progress, or a stand-in for it."""


def job_count(cpus: int, available_gigabytes: float | None) -> int:
    """Compilers to run at once: one for each CPU, and no more than the memory holds."""
    if available_gigabytes is None:
        return max(1, cpus)
    return max(1, min(cpus, int(available_gigabytes / GIGABYTES_A_JOB)))


def machine_jobs() -> int:
    """The job count for this machine as it is now."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return job_count(cpus, _available_gigabytes())


def _available_gigabytes() -> float | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(match[1]) / 1e6 if match else None


def run_logged(
    command: Sequence[str | Path],
    *,
    label: str,
    log: Path,
    progress: ProgressMaker,
    environment: Mapping[str, str],
    unit: str = "s",
) -> None:
    """Run a program, its output appended to ``log``; a line shows how far it is.

    With the unit ``steps`` that is ninja's ``[n/m]`` (NINJA_STATUS has to be ``[%f/%t] ``), with ``s`` the seconds it
    has run. Raises ToolError, after the last lines of the output, when the program fails or is not there.
    """
    with log.open("a", encoding="utf-8") as file, progress(label, None, unit) as shown:
        process = _start(command, environment)
        tail: collections.deque[str] = collections.deque(maxlen=SHOWN_LINES)
        try:
            started = time.monotonic()
            for line in _lines_and_ticks(process):
                if line is not None:
                    file.write(line)
                    if not _count(line, shown):
                        tail.append(line.rstrip())
                shown.update(shown.done if unit == "steps" else int(time.monotonic() - started))
        finally:
            process.terminate()
            code = process.wait()
        if code:
            shown.note("\n".join(tail))
            raise ToolError(f"{label} failed: the last messages are above, all of them in {log}.")


def _start(command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            [str(part) for part in command], env=dict(environment), encoding="utf-8", errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{command[0]} could not be started: {error.strerror}.") from error


def _count(line: str, progress: Progress) -> bool:
    """Take a ``[n/m]`` line into the progress; False for any other line."""
    match = _STEP.match(line)
    if not match:
        return False
    progress.done, progress.total = int(match[1]), int(match[2])
    return True


def _lines_and_ticks(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """The program's lines as they come, and None every second in between: one compiler can take minutes."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            yield None
            continue
        if line is None:
            process.wait()
            return
        yield line
