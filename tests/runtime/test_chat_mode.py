"""--chat: history, errors, and what Ctrl-C does at each point."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from fake_engine import FakeEngine, Script
from solofile.runtime.chat import Chat, run
from solofile.runtime.chat_printer import Printer
from solofile.runtime.conversation import Answer, Piece
from solofile.runtime.engine_api import Request
from solofile.runtime.errors import EngineError
from solofile.runtime.shutdown import Terminated

CHAT = "/v1/chat/completions"


def reader(*lines: str | BaseException) -> Callable[[], str]:
    """Gives line after line, then the end of the input."""
    rest = iter(lines)

    def read() -> str:
        line = next(rest, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    return read


class Interrupting(io.StringIO):
    """Raises ``error`` when ``word`` is printed, each of ``times`` times."""

    def __init__(self, word: str, error: type[KeyboardInterrupt] = KeyboardInterrupt, times: int = 1) -> None:
        super().__init__()
        self._word, self._error, self._times = word, error, times

    def write(self, text: str) -> int:
        count = super().write(text)
        if self._word in text and self._times:
            self._times -= 1
            raise self._error() if self._error is KeyboardInterrupt else Terminated(15)
        return count


def turns(request: Request) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in json.loads(request.body)["messages"]]


def converse(
    engine: FakeEngine, *lines: str | BaseException, out: io.StringIO | None = None
) -> tuple[Chat, str, list[str]]:
    chat, said = Chat(engine, "Be brief.", template=True), list[str]()
    out = out or io.StringIO()
    run(chat, reader(*lines), out, said.append, color=False)
    return chat, out.getvalue(), said


def test_keeps_the_history(engine: FakeEngine) -> None:
    _, shown, said = converse(engine, "Where?", "  ", "Sure?")
    assert shown == "Paris.\nParis.\n\n"
    assert said == []
    assert [turns(request) for request in engine.requests] == [
        [("system", "Be brief."), ("user", "Where?")],
        [("system", "Be brief."), ("user", "Where?"), ("assistant", "Paris."), ("user", "Sure?")],
    ]


@pytest.mark.parametrize("leaving", [EOFError(), KeyboardInterrupt()])
def test_leaves_at_the_prompt(engine: FakeEngine, leaving: BaseException) -> None:
    _, shown, _ = converse(engine, leaving, "never asked")
    assert shown == "\n"
    assert engine.requests == []


def test_ctrl_c_stops_the_answer_and_keeps_what_came(engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["one ", "two ", "three "], delay=0.02, repeat=True))
    chat, shown, _ = converse(engine, "Count", out=Interrupting("two"))
    assert len(engine.cancelled) == 1
    assert shown.startswith("one two ")
    assert [message.role for message in chat.history] == ["system", "user", "assistant"]
    assert chat.history[-1].content.startswith("one two ")


def test_conversation_goes_on_after_a_stopped_answer(engine: FakeEngine) -> None:
    answers = iter([Script.sse(["one ", "two "], delay=0.02, repeat=True), Script.sse(["Paris."])])
    engine.on("POST", CHAT, lambda _: next(answers))
    _, shown, _ = converse(engine, "Count", "Where?", out=Interrupting("two"))
    assert shown.endswith("Paris.\n\n")
    assert turns(engine.requests[1])[1:3] == [("user", "Count"), ("assistant", "one two ")]


def test_second_ctrl_c_leaves(engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["word "] * 1000))
    chat, _, _ = converse(engine, "Count", "never asked", out=Interrupting("word", times=2))
    assert len(engine.requests) == 1
    assert chat.history[-1].role == "user"


class InterruptedQueue:
    """The queue of an answer; the first who waits for it hears Ctrl-C."""

    def __init__(self, queue: SimpleQueue[object]) -> None:
        self._queue, self._interrupted = queue, False
        self.put, self.empty = queue.put, queue.empty

    def get(self, timeout: float) -> object:
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        return self._queue.get(timeout=timeout)


def test_ctrl_c_before_the_first_word_takes_the_question_back(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.on("POST", CHAT, Script.sse(["late"], think=60))
    chat = Chat(engine, None, template=True)
    ask = chat.ask

    def impatient(question: str) -> Answer:
        answer = ask(question)
        monkeypatch.setattr(answer, "_queue", InterruptedQueue(answer._queue))  # type: ignore[arg-type]
        return answer

    monkeypatch.setattr(chat, "ask", impatient)
    run(chat, reader("Where?"), io.StringIO(), lambda _: None, color=False)
    assert chat.history == []
    assert len(engine.cancelled) == 1


def test_termination_is_no_stop_of_an_answer(engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["one "], delay=0.02, repeat=True))
    with pytest.raises(Terminated):
        converse(engine, "Count", out=Interrupting("one", Terminated))
    assert len(engine.cancelled) == 1


def test_refused_question_is_taken_back_and_the_conversation_goes_on(engine: FakeEngine) -> None:
    refusal = Script([b'{"error":{"code":400,"message":"too long"}}'], 400)
    answers = iter([refusal, Script.sse(["Paris."])])
    engine.on("POST", CHAT, lambda _: next(answers))
    _, shown, said = converse(engine, "long", "Where?")
    assert said == ["llama.cpp refuses this: too long."]
    assert shown == "Paris.\n\n"
    assert turns(engine.requests[1]) == [("system", "Be brief."), ("user", "Where?")]


def test_engine_that_is_no_more_ends_it(engine: FakeEngine) -> None:
    engine.on("POST", CHAT, lambda _: engine.become("failed") or Script([b"{}"], 500))  # type: ignore[func-returns-value]
    with pytest.raises(EngineError):
        converse(engine, "Where?")


def test_without_a_template_the_text_goes_on(engine: FakeEngine) -> None:
    engine.on("POST", "/completion", Script([b'data: {"content":" upon"}\n\n']))
    chat = Chat(engine, "ignored", template=False)
    run(chat, reader("Once", " a time"), io.StringIO(), lambda _: None, color=False)
    assert [json.loads(request.body)["prompt"] for request in engine.requests] == ["Once", "Once upon a time"]


def test_reasoning_is_shown_apart_and_not_kept() -> None:
    out = io.StringIO()
    printer = Printer(out, color=True)
    for piece in (Piece("hm", True), Piece(" so", True), Piece("Yes.")):
        printer.write(piece)
    printer.end()
    assert printer.answer == "Yes."
    assert out.getvalue() == "\x1b[2mhm so\n\x1b[0mYes.\n"
