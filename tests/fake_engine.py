"""A scripted engine for tests: the protocol of `engine_api.Engine` without a model.

    engine = FakeEngine()
    engine.on("POST", "/completion", Script(chunks=[b'{"content":"hi"}']))
    engine.on("POST", "/v1/chat/completions", Script.sse(["Hel", "lo"], delay=0.01))

A script says what comes and when; `FakeEngine.requests` and `FakeEngine.cancelled` say what happened.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from solofile.runtime.engine_api import Phase, Request, State

JSON_FIELDS = (("Content-Type", "application/json; charset=utf-8"),)
SSE_FIELDS = (("Content-Type", "text/event-stream"),)
STEP = 0.005


@dataclass(frozen=True)
class Script:
    """One answer. ``think`` seconds before the status is known, ``delay`` seconds before each chunk."""

    chunks: Sequence[bytes] = (b"{}",)
    status: int = 200
    fields: Sequence[tuple[str, str]] = JSON_FIELDS
    think: float = 0.0
    delay: float = 0.0
    repeat: bool = False
    """Send the chunks again and again until cancelled."""
    error: Exception | None = None
    """Raised instead of an answer."""
    break_after: int | None = None
    """Raise after so many chunks."""

    @classmethod
    def sse(cls, pieces: Sequence[str], *, delay: float = 0.0, think: float = 0.0, repeat: bool = False) -> Script:
        """A chat completion that streams ``pieces``."""
        events = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
        chunks = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
        if not repeat:
            chunks.append(b"data: [DONE]\n\n")
        return cls(chunks, fields=SSE_FIELDS, delay=delay, think=think, repeat=repeat)

    @classmethod
    def chat(cls, text: str, *, think: float = 0.0) -> Script:
        """A chat completion in one piece."""
        message = {"role": "assistant", "content": text}
        body = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return cls([json.dumps(body).encode()], think=think)


class FakeResponse:
    """An answer in the making."""

    def __init__(self, script: Script, cancelled: threading.Event) -> None:
        """Play ``script`` until ``cancelled``."""
        self.status = script.status
        self.headers = list(script.fields)
        self._script = script
        self._cancelled = cancelled
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        """The script's chunks, each after its delay."""
        sent = 0
        while True:
            for chunk in self._script.chunks:
                if self._script.break_after is not None and sent >= self._script.break_after:
                    raise RuntimeError("the script breaks here")
                if self._script.delay and self._cancelled.wait(self._script.delay):
                    return
                if self._cancelled.is_set():
                    return
                sent += 1
                yield chunk
            if not self._script.repeat:
                return

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


@dataclass
class FakeCall:
    """A request on its way."""

    engine: FakeEngine
    request: Request
    script: Script
    event: threading.Event = field(default_factory=threading.Event)
    cancelled_at: float | None = None
    response: FakeResponse | None = None

    def run(self) -> FakeResponse:
        """Think, then answer; cancelled, an empty answer as the bridge gives."""
        if self.script.think:
            self.event.wait(self.script.think)
        if self.script.error is not None:
            raise self.script.error
        script = replace(self.script, chunks=(), repeat=False) if self.event.is_set() else self.script
        self.response = FakeResponse(script, self.event)
        return self.response

    def cancel(self) -> None:
        """Wake whoever waits."""
        if self.cancelled_at is None:
            self.cancelled_at = time.monotonic()
        self.event.set()


class FakeEngine:
    """Answers by script; everything else gets llama.cpp's 404."""

    def __init__(self, phase: Phase = "ready", *, progress: float = 1.0, message: str = "") -> None:
        """Begin in ``phase``."""
        self._state = State(phase, progress, message)
        self._changed = threading.Condition()
        self._scripts: dict[tuple[str, str], Script | Callable[[Request], Script]] = {}
        self.calls: list[FakeCall] = []
        self.read: tuple[int, int] | None = None

    def on(self, method: str, path: str, script: Script | Callable[[Request], Script]) -> None:
        """Answer ``method`` ``path`` by ``script``, or by what it returns for the request."""
        self._scripts[method, path] = script

    @property
    def requests(self) -> list[Request]:
        """Every request so far."""
        return [call.request for call in self.calls]

    @property
    def cancelled(self) -> list[FakeCall]:
        """Every call that was cancelled."""
        return [call for call in self.calls if call.cancelled_at is not None]

    def become(self, phase: Phase, progress: float = 1.0, message: str = "") -> None:
        """Change the state."""
        with self._changed:
            self._state = State(phase, progress, message)
            self._changed.notify_all()

    def state(self) -> State:
        """The state now."""
        return self._state

    def wait(self, timeout: float | None = None) -> State:
        """Block until it is not loading."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.phase != "loading", timeout)
        return self._state

    def reading(self) -> tuple[int, int] | None:
        """What `read` says is read."""
        return self.read

    def call(self, request: Request) -> FakeCall:
        """A call that plays the script."""
        script = self._scripts.get((request.method, request.path))
        if script is None:
            body = b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}'
            script = Script([body], 404)
        call = FakeCall(self, request, script if isinstance(script, Script) else script(request))
        self.calls.append(call)
        return call

    def stop(self, timeout: float = 2.0) -> None:  # noqa: ARG002 - the protocol's
        """Cancel what is open."""
        self.become("stopped")
        for call in self.calls:
            call.cancel()


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    """Whether ``condition`` holds within ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(STEP)
    return True
