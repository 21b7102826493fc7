"""The mode -p: one answer on standard output and nothing else there, no port, no Flask."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from solofile.runtime.conversation import Answer, Message, chat_request, text_request, wait_ready
from solofile.runtime.engine_api import Engine
from solofile.runtime.errors import InputError

STDIN = "-"
_NOTICE_AFTER = 3.0


def prompt_text(given: str, piped: str) -> str:
    """The question: what -p was given, followed by what came on standard input; with ``-p -`` the latter alone."""
    if given == STDIN:
        given, what = "", "Standard input is empty: pipe a question into -p -."
    else:
        what = 'The question is empty: write it behind -p, as in -p "What is a quine?".'
    parts = [part for part in (given, piped) if part.strip()]
    if not parts:
        raise InputError(what)
    return "\n\n".join(parts)


def read_piped(given: str, stdin: TextIO | None) -> str:
    """What is on standard input, if that is a pipe or a file, or was asked for with ``-p -``; else nothing.

    It is read to its end, as any filter does; whoever waits there for long is told so.
    """
    if stdin is None or (given != STDIN and stdin.isatty()):
        return ""
    notice = threading.Timer(_NOTICE_AFTER, _say_waiting)
    notice.daemon = True
    notice.start()
    try:
        return stdin.buffer.read().decode("utf-8", "replace").strip("\n")
    finally:
        notice.cancel()


def _say_waiting() -> None:
    print("Reading the rest of the question from standard input; </dev/null behind the command stops that.",
          file=sys.stderr, flush=True)  # fmt: skip


def messages(system_prompt: str | None, question: str) -> list[Message]:
    """The turns of a chat that begins with this question."""
    system = [Message("system", system_prompt)] if system_prompt else []
    return [*system, Message("user", question)]


def answer_once(engine: Engine, turns: Sequence[Message], out: TextIO, *, template: bool) -> None:
    """Print the answer as it comes, without the model's reasoning, and a newline behind it.

    With ``template`` the model is asked in a chat, without it goes on where the question ends. On the way out, whatever
    the reason, a generation that still runs is cancelled. Raises BrokenPipeError when nobody reads any more.
    """
    wait_ready(engine)
    asked = turns if template else [turn for turn in turns if turn.role == "user"]
    answer = Answer(engine, chat_request(asked) if template else text_request(asked))
    last = ""
    try:
        for piece in answer:
            if not piece.thought:
                out.write(piece.text)
                out.flush()
                last = piece.text
        if not last.endswith("\n"):
            out.write("\n")
            out.flush()
    except BaseException:
        answer.cancel()
        raise
