"""Does in a child process what may crash, hang or eat memory: native code and templates at work on any file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

MEMORY = 450 << 20
"""Bytes that a child may take of its own, unless it is told otherwise."""

WORD = "--child"
"""What makes solofile a child process where it is one executable, which runs no Python that it is given."""

_TOLD = 2000

_PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); "  # nothing is imported from the current folder
    "from solofile.builder.child_main import main; sys.exit(main())"
)


class ChildFailure(Exception):  # noqa: N818 - reads as what happened
    """The child did not do its job; the message is a clause that says why.

    ``crashed``: what it ran ended it. ``unusable``: what it should have run with is not fit for that.
    """

    def __init__(self, reason: str, *, crashed: bool = False, unusable: bool = False) -> None:
        super().__init__(clause(reason))
        self.crashed, self.unusable = crashed, unusable


class Refused(Exception):  # noqa: N818 - reads as what happened
    """In the child: the job cannot be done; the message is a clause for people."""


class Unusable(Refused):
    """In the child: the libraries that are to do it cannot be used here."""


def clause(text: str) -> str:
    """A message of llama.cpp's, of many lines perhaps, as a clause: the line that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    line = next((line for line in reversed(lines) if line.startswith("Error: ")), lines[0])
    return line.rpartition("rror: ")[2][:300].rstrip(".:")


def run_child(
    task: str,
    job: Mapping[str, Any],
    *,
    seconds: float | None = None,
    memory: int | None = MEMORY,
    on_news: Callable[[Any], None] = lambda _: None,
) -> dict[str, Any]:
    """What the function ``task`` of child_main.py makes of ``job``; ``on_news`` gets what it tells on its way.

    Raises ChildFailure, also when it takes longer than ``seconds`` or more than ``memory``.
    """
    frozen = getattr(sys, "frozen", False)  # solofile as one executable
    command = [sys.executable, WORD] if frozen else [sys.executable, "-c", _PROGRAM]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LLAMA_", "GGML_"))}
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=messages, env=environment) as process,
    ):
        late = threading.Event()
        timer = threading.Timer(seconds, _end, (process, late)) if seconds is not None else None
        try:
            if timer:
                timer.start()
            answer = _talk(process, {"task": task, "memory": memory, **job}, on_news)
            if answer is None:
                process.wait()
        finally:
            process.kill()
            process.wait()
            if timer:
                timer.cancel()
        if late.is_set():
            raise ChildFailure(f"it took longer than {seconds:g} seconds", crashed=True)
        if answer is None:
            raise ChildFailure(_how_it_ended(process.returncode, messages), crashed=True)
    if "failure" in answer:
        raise ChildFailure(answer["failure"], **{word: word in answer for word in ("crashed", "unusable")})
    return answer


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _talk(
    process: subprocess.Popen[bytes], job: Mapping[str, Any], on_news: Callable[[Any], None]
) -> dict[str, Any] | None:
    """Give the child its job and hear it out; None if it ended without an answer."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        told = json.loads(line)
        if "answer" in told:
            answer: dict[str, Any] = told["answer"]
            return answer
        on_news(told["news"])
    return None


def _how_it_ended(code: int, messages: IO[bytes]) -> str:
    """A clause on a child that ended without an answer, with the last line that it wrote."""
    size = messages.seek(0, os.SEEK_END)
    messages.seek(max(0, size - _TOLD))
    lines = messages.read().decode("utf-8", "replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    end = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"{end} ({said[:200]})" if said else end
