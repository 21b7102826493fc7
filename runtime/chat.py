"""The mode --chat: a conversation in the terminal.

Ctrl-C stops an answer and keeps what has come of it; at the prompt, or a second time while an answer is still being
stopped, it leaves, as the end of the input does. On a terminal there are commands (chat_commands.py) and an editor
(chat_terminal.py); with a pipe on either side each line is a question.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

from solofile.runtime.chat_printer import Printer
from solofile.runtime.conversation import Answer, Message, chat_request, text_request, wait_ready
from solofile.runtime.engine_api import Engine, Request
from solofile.runtime.errors import SolofileError
from solofile.runtime.shutdown import Terminated

ASK, AGAIN, NOTHING, LEAVE = "ask", "again", "nothing", "leave"

Read = Callable[[], str]
Say = Callable[[str], None]


class Step(NamedTuple):
    """What a line asks for: ASK ``text``, AGAIN for another answer, NOTHING more, or to LEAVE."""

    kind: str
    text: str = ""


Obey = Callable[[str], Step]


class Usage(NamedTuple):
    """What the last answer took: its tokens, how many a second, and how many are in the context now."""

    tokens: int
    speed: float
    context: int


class Chat:
    """A conversation: its history, and how to ask for the next answer."""

    def __init__(self, engine: Engine, system_prompt: str | None, *, template: bool) -> None:
        """``template``: the model knows turns; without, it goes on where the text of the conversation ends."""
        self._engine = engine
        self.template = template
        self.history = [Message("system", system_prompt)] if system_prompt and template else []
        self.usage: Usage | None = None
        self._before = list(self.history)

    def ask(self, question: str) -> Answer:
        """Begin to answer; `keep` what came of it, or `forget` the question."""
        self._before = list(self.history)
        self.history.append(Message("user", question))
        return self._begin()

    def again(self) -> Answer | None:
        """Begin another answer to the last question; None where there is none. `forget` brings the old one back."""
        turns = list(self.history)
        while turns and turns[-1].role == "assistant":
            turns.pop()
        if not turns or turns[-1].role != "user":
            return None
        self._before, self.history = self.history, turns
        return self._begin()

    def _begin(self) -> Answer:
        return Answer(self._engine, (chat_request if self.template else text_request)(self.history))

    def keep(self, answer: str) -> None:
        """Put the answer into the history."""
        self.history.append(Message("assistant", answer))

    def forget(self) -> None:
        """Be as before the last question: nothing came of it."""
        self.history = self._before

    @property
    def system(self) -> str | None:
        """The system prompt."""
        return self.history[0].content if self.history and self.history[0].role == "system" else None

    def begin_anew(self, system: str | None, turns: list[Message] | None = None) -> None:
        """Go on from ``turns`` (none), under another system prompt."""
        self.history = [*([Message("system", system)] if system else []), *(turns or [])]
        self.usage = None

    def note(self, answer: Answer) -> None:
        """Remember what an answer took."""
        found = usage_of(answer)
        if found is None and self.usage is not None:  # it was stopped before llama.cpp could count
            found = self.usage._replace(context=self.usage.context + answer.events)
        self.usage = found or self.usage

    def context_size(self) -> int | None:
        """The tokens that the context has room for; None where the engine does not say."""
        response = self._engine.call(Request("GET", "/props")).run()
        try:
            found = json.loads(b"".join(response))["default_generation_settings"]["n_ctx"]
        except (ValueError, KeyError, TypeError):
            return None
        finally:
            response.close()
        return int(found) or None

    @property
    def engine(self) -> Engine:
        """What answers."""
        return self._engine

    @property
    def alive(self) -> bool:
        """Can the engine still be asked?"""
        return self._engine.state().phase == "ready"


def usage_of(answer: Answer) -> Usage | None:
    """What llama.cpp says that an answer took, None where it says nothing."""
    found = answer.timings
    try:
        tokens = int(found["predicted_n"])
        context = int(found.get("cache_n", 0)) + int(found["prompt_n"]) + tokens
        return Usage(tokens, float(found["predicted_per_second"]), context)
    except (KeyError, TypeError, ValueError):
        return None


def every_line_asks(line: str) -> Step:
    """Without commands."""
    return Step(ASK, line) if line.strip() else Step(NOTHING)


MakePrinter = Callable[[], Printer]


def run(
    chat: Chat, read: Read, out: TextIO, say: Say, *, color: bool, obey: Obey = every_line_asks,
    make_printer: MakePrinter | None = None, after: Callable[[Answer], None] | None = None,
) -> None:  # fmt: skip
    """Converse until the input ends or Ctrl-C leaves. Raises EngineError when the engine is no more, and Terminated.

    ``obey`` says what each line asks for, ``after`` hears of every answer that is over.
    """
    make_printer = make_printer or (lambda: Printer(out, color=color))
    try:
        while (step := obey(read())).kind != LEAVE:
            answer = chat.ask(step.text) if step.kind == ASK else chat.again() if step.kind == AGAIN else None
            if answer is not None:
                _answer(chat, answer, make_printer(), say)
                chat.note(answer)
                if after is not None:
                    after(answer)
    except Terminated:
        raise
    except (EOFError, KeyboardInterrupt):
        out.write("\n")
        out.flush()


def _answer(chat: Chat, answer: Answer, printer: Printer, say: Say) -> None:
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


def start(
    engine: Engine, title: str, system_prompt: str | None, out: TextIO, *, template: bool, history: Path | None = None,
    greeting: str | None = None,
) -> None:  # fmt: skip
    """Wait for the model, greet, and converse; what is typed on a terminal is kept in the file ``history``, if any;
    a terminal shows the bundle's ``greeting`` first.

    Raises EngineError when the model cannot be loaded or the engine ends on its own.
    """
    chat = Chat(engine, system_prompt, template=template)
    if sys.stdin.isatty() and out.isatty():
        from solofile.runtime import chat_terminal

        chat_terminal.converse(chat, title, out, history, os.environ, greeting)
        return
    wait_ready(engine)
    if not template:
        _say(NO_CHAT)
    run(chat, lambda: input(""), out, _say, color=False)


NO_CHAT = "This model knows no chat: it goes on where your text ends."


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
