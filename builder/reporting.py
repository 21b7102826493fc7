"""What a command says in the end, to a person or to a program that reads events (displays.py)."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from solofile.builder.displays import emit, speaking_to
from solofile.builder.progress import show_as

WRITERS = ("build", "set", "upgrade", "extract", "sign", "recipe", "native", "pack", "self")
"""The commands whose --json stands for --progress json: what they make is a file, and no text to be had as JSON."""

_facts: dict[str, Any] = {}
"""What the command under way adds to its result."""


class Report:
    """The outcome of one command line."""

    def __init__(self, words: Sequence[str]) -> None:
        self._events = _asks_for_events(words)
        self._printed = io.StringIO()

    @contextlib.contextmanager
    def begun(self, arguments: argparse.Namespace) -> Iterator[None]:
        """Run the command in the block: progress as asked for; where that is events, what it prints is held back."""
        form = getattr(arguments, "progress", "auto")
        self._events = form == "json"
        _facts.clear()
        with show_as(form), contextlib.ExitStack() as stack:
            if self._events:
                stack.enter_context(speaking_to(sys.stdout))
                stack.enter_context(contextlib.redirect_stdout(self._printed))
            yield

    def ended(self, code: int) -> int:
        """The command has ended with this exit code."""
        if self._events:
            message = self._printed.getvalue().strip()
            emit("error" if code else "result", exit_code=code, message=message, **_facts)
        return code

    def failed(self, message: str, code: int, *, fresh_line: bool = False) -> int:
        """It has not; ``fresh_line`` where a terminal may have shown ^C."""
        if self._events:
            emit("error", exit_code=code, message=message, **_facts)
        line = "\n" if fresh_line and sys.stderr.isatty() else ""
        print(f"{line}solofile: {message}", file=sys.stderr)
        return code


def say(text: str, output: Path | None = None, **facts: Any) -> None:
    """Print what a command has done; ``output``, the file that it has written, and ``facts`` go into the result."""
    print(text)
    if output is not None:
        facts |= {"output": str(output), "size": output.stat().st_size}
    _facts.update(facts)


def add(**facts: Any) -> None:
    """Put facts into the result, if it is read by a program."""
    _facts.update(facts)


def _asks_for_events(words: Sequence[str]) -> bool:
    """Before the words are understood: a mistake in them is an event too."""
    pairs = itertools.pairwise(words)
    short = words[:1] and words[0] in WRITERS and "--json" in words
    return bool(short) or "--progress=json" in words or ("--progress", "json") in pairs
