"""Asking the engine from a terminal: requests as an API client would send them, answers as pieces of text.

The engine is called on a thread of its own, so that the one that waits here hears Ctrl-C at once, whatever native code
is doing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from solofile.runtime.engine_api import Engine, Request, failure
from solofile.runtime.errors import EngineError, InputError, SolofileError

POLL = 0.1
"""Seconds between two looks at a signal while native code waits for us."""


class Message(NamedTuple):
    """One turn: ``role`` is system, user or assistant."""

    role: str
    content: str


class Piece(NamedTuple):
    """A piece of an answer; ``thought`` where it belongs to the model's reasoning and not to the answer."""

    text: str
    thought: bool = False


def wait_ready(engine: Engine) -> None:
    """Block until the model is loaded; EngineError when it cannot be."""
    state = engine.state()
    while state.phase == "loading":
        state = engine.wait(POLL)
    if state.phase != "ready":
        raise EngineError(failure(state))


def chat_request(messages: Sequence[Message]) -> Request:
    """A streamed chat completion."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return _post("/v1/chat/completions", {"messages": turns, "stream": True})


def text_request(messages: Sequence[Message]) -> Request:
    """A streamed completion of the bare text, for models that know no turns; they go on where the text ends."""
    return _post("/completion", {"prompt": "".join(message.content for message in messages), "stream": True})


def _post(path: str, body: object) -> Request:
    # What the terminal gave as bytes that are no UTF-8, or a model as half a character, must not break the JSON.
    data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return Request("POST", path, headers={"Content-Type": "application/json"}, body=data.encode())


class Answer:
    """An answer on its way: iterate for its pieces; `cancel` ends it early, from any thread."""

    def __init__(self, engine: Engine, request: Request) -> None:
        """Begin to ask."""
        self.timings: dict[str, Any] = {}
        """What llama.cpp says at the end of its counts and times."""
        self.events = 0
        """How many events have come, each of about a token."""
        self.finish = ""
        """Why it ended: stop, or length where there was no more room; empty where it was stopped."""
        self._call = engine.call(request)
        self._queue: SimpleQueue[Piece | SolofileError | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="solofile-answer", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Piece]:
        """Block for piece after piece. Raises InputError for what llama.cpp refuses, EngineError when it fails.

        After an interruption a second iteration goes on where the first one stopped.
        """
        while True:
            try:
                found = self._queue.get(timeout=POLL)
            except Empty:
                if self._thread.is_alive() or not self._queue.empty():
                    continue
                return
            if found is None:
                return
            if isinstance(found, SolofileError):
                raise found
            yield found

    def cancel(self) -> None:
        """End the answer; the iteration ends soon."""
        self._call.cancel()

    def _note(self, event: dict[str, Any]) -> None:
        self.events += 1
        self.timings = event.get("timings") or self.timings
        for choice in event.get("choices", ()):
            self.finish = choice.get("finish_reason") or self.finish
        if event.get("stop_type"):
            self.finish = "length" if event["stop_type"] == "limit" else "stop"

    def _work(self) -> None:
        try:
            response = self._call.run()
            if response.status != 200:
                raise refusal(b"".join(response), response.status)
            for payload in events(response):
                if (event := event_of(payload)) is None:
                    continue
                self._note(event)
                for piece in pieces_of(event):
                    self._queue.put(piece)
        except SolofileError as error:
            self._queue.put(error)
        except Exception as error:
            self._queue.put(EngineError(f"The answer broke off ({type(error).__name__}: {error}): ask again."))
        finally:
            self._queue.put(None)


def events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The payloads of a stream of server-sent events, however it is cut into chunks; comments (pings) are left out."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, payload = line.rstrip(b"\r").partition(b":")
            if field in (b"data", b"error"):
                yield payload.strip()


def pieces(payload: bytes) -> Iterator[Piece]:
    """What one event of a completion or chat completion says; raises its error if it is one."""
    event = event_of(payload)
    if event is not None:
        yield from pieces_of(event)


def event_of(payload: bytes) -> dict[str, Any] | None:
    """One event; None for the mark of the end. Raises its error if it is one."""
    if payload == b"[DONE]":
        return None
    event: dict[str, Any] = json.loads(payload)
    if "error" in event or ("message" in event and "code" in event):
        raise refusal(payload, 0)
    return event


def pieces_of(event: dict[str, Any]) -> Iterator[Piece]:
    """What an event says."""
    if "choices" not in event:
        yield from _some(event.get("content"))
        return
    for choice in event["choices"]:
        delta = choice.get("delta", {})
        yield from _some(delta.get("reasoning_content"), thought=True)
        yield from _some(delta.get("content"))


def _some(text: str | None, *, thought: bool = False) -> Iterator[Piece]:
    if text:
        yield Piece(text, thought)


def refusal(body: bytes, status: int) -> SolofileError:
    """The error that llama.cpp's JSON stands for: ours where the request was wrong, the engine's otherwise."""
    try:
        found = json.loads(body)
        error = found.get("error", found)
        code, message = int(error.get("code", status)), str(error.get("message", "")).strip()
    except (ValueError, AttributeError):
        code, message = status, body.decode("utf-8", "replace").strip()
    sentence = f"llama.cpp refuses this: {message.rstrip('.') or f'status {code}'}."
    return InputError(sentence) if 400 <= code < 500 else EngineError(sentence)
