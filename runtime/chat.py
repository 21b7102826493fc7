"""The mode --chat: a conversation in the terminal.

Ctrl-C stops an answer and keeps what has come of it; at the prompt, or a second time while an answer is still being
stopped, it leaves, as the end of the input does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TextIO

from solofile.runtime.conversation import Answer, Message, Piece, chat_request, text_request, wait_ready
from solofile.runtime.engine_api import Engine
from solofile.runtime.errors import SolofileError
from solofile.runtime.shutdown import Terminated

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
Read = Callable[[], str]
Say = Callable[[str], None]


class Chat:
    """A conversation: its history, and how to ask for the next answer."""

    def __init__(self, engine: Engine, system_prompt: str | None, *, template: bool) -> None:
        """``template``: the model knows turns; without, it goes on where the text of the conversation ends."""
        self._engine = engine
        self._template = template
        self.history = [Message("system", system_prompt)] if system_prompt and template else []

    def ask(self, question: str) -> Answer:
        """Begin to answer; `keep` what came of it, or `forget` the question."""
        self.history.append(Message("user", question))
        return Answer(self._engine, (chat_request if self._template else text_request)(self.history))

    def keep(self, answer: str) -> None:
        """Put the answer into the history."""
        self.history.append(Message("assistant", answer))

    def forget(self) -> None:
        """Take the last question back: nothing came of it."""
        self.history.pop()

    @property
    def alive(self) -> bool:
        """Can the engine still be asked?"""
        return self._engine.state().phase == "ready"


def run(chat: Chat, read: Read, out: TextIO, say: Say, *, color: bool) -> None:
    """Converse until the input ends or Ctrl-C leaves. Raises EngineError when the engine is no more, and Terminated."""
    try:
        while True:
            question = read()
            if question.strip():
                _answer(chat, question, Printer(out, color=color), say)
    except Terminated:
        raise
    except (EOFError, KeyboardInterrupt):
        out.write("\n")
        out.flush()


def _answer(chat: Chat, question: str, printer: Printer, say: Say) -> None:
    answer = chat.ask(question)
    try:
        _print(answer, printer)
    except SolofileError as error:
        if not chat.alive:
            raise
        if printer.answer:
            printer.end()
        say(str(error))
    except BaseException:
        answer.cancel()
        raise
    if printer.answer:
        chat.keep(printer.answer)
    else:
        chat.forget()


def _print(answer: Answer, printer: Printer) -> None:
    """Print the answer; Ctrl-C cancels it, and what was already under way still comes."""
    try:
        for piece in answer:
            printer.write(piece)
    except Terminated:
        raise
    except KeyboardInterrupt:
        answer.cancel()
        for piece in answer:
            printer.write(piece)
    printer.end()


class Printer:
    """Prints the pieces of one answer and collects it, the reasoning apart and, in colour, dimmed."""

    def __init__(self, out: TextIO, *, color: bool) -> None:
        """Print to ``out``."""
        self.answer = ""
        self._out = out
        self._color = color
        self._thinking = False
        self._last = ""

    def write(self, piece: Piece) -> None:
        """Print one piece at once."""
        if piece.thought != self._thinking:
            self._turn(piece.thought)
        if not piece.thought:
            self.answer += piece.text
        self._put(piece.text)

    def end(self) -> None:
        """Close the answer with a newline."""
        if self._thinking:
            self._turn(False)
        if not self._last.endswith("\n"):
            self._put("\n")

    def _turn(self, thinking: bool) -> None:
        self._thinking = thinking
        if not thinking and not self._last.endswith("\n"):
            self._put("\n")
        if self._color:
            self._put(_DIM if thinking else _PLAIN)

    def _put(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
        self._last = text if text not in (_DIM, _PLAIN) else self._last


def start(engine: Engine, title: str, system_prompt: str | None, out: TextIO, *, template: bool) -> None:
    """Wait for the model, greet, and converse on the terminal.

    Raises EngineError when the model cannot be loaded or the engine ends on its own.
    """
    terminal = sys.stdin.isatty() and out.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - input() then edits the line and remembers those before
        _say(f"{title}: Ctrl-C stops an answer, Ctrl-D leaves.")
    wait_ready(engine)
    if not template:
        _say("This model knows no chat: it goes on where your text ends.")
    chat = Chat(engine, system_prompt, template=template)
    run(chat, lambda: input("> " if terminal else ""), out, _say, color=terminal and os.environ.get("TERM") != "dumb")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
