"""An answer of the engine on its way to the client: watched, limited in time, counted piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Response, request
from solofile.runtime import blame
from solofile.runtime.http_errors import JSON_TYPE, WATCH_KEY, error_body
from solofile.runtime.visit import BROKEN, GONE, TIME, WHOLE

if TYPE_CHECKING:
    from solofile.runtime.deadlines import Deadline
    from solofile.runtime.engine_api import Engine, Request
    from solofile.runtime.engine_api import Response as EngineResponse
    from solofile.runtime.observer import Observer
    from solofile.runtime.visit import Visit
    from solofile.runtime.watch import Watch


class Answering:
    """One call and what may end it early: its client goes, the server stops, or it takes ``limit`` seconds (0: any)."""

    def __init__(self, engine: Engine, asked: Request, visit: Visit, observer: Observer, limit: float) -> None:
        """Nothing is computed before `response`."""
        self._engine, self._asked = engine, asked
        self.call, self.visit, self.observer = engine.call(asked), visit, observer
        self._limit = limit
        self._watch: Watch | None = None
        self._deadline: Deadline | None = None

    @property
    def ended_by(self) -> str:
        """What ended it early, `WHOLE` for nothing."""
        if self._deadline is not None and self._deadline.passed:
            return TIME
        return GONE if self._watch is not None and self._watch.told else WHOLE

    @property
    def too_late(self) -> bytes:
        """The JSON of an answer that took too long."""
        return error_body(504, f"The answer took longer than {self._limit:g} seconds (--max-seconds): ask for less.")

    def response(self, held: ExitStack) -> Response:
        """Run the call and pass its answer on. ``held`` is let go at its end, and so is all that watches it."""
        with held as stack:
            if (watch := request.environ.get(WATCH_KEY)) is not None:
                self._watch = stack.enter_context(watch(self.call.cancel))
            if self._limit:
                self._deadline = stack.enter_context(self.observer.deadlines.within(self._limit, self.call.cancel))
            result = self.call.run()
            body = Body(self, result, stack.pop_all())
        fields = list(result.headers)
        if is_streamed(fields):
            # As llama-server: a proxy in between must not collect the chunks.
            fields.append(("X-Accel-Buffering", "no"))
            self.visit.streamed = True
            return Response(body, result.status, fields, direct_passthrough=True)
        with closing(body):
            whole = b"".join(body)
        self.observer.release(self.visit)
        if self.visit.end == TIME:
            return Response(self.too_late, 504, content_type=JSON_TYPE)
        if result.status == 500 and blame.is_clients(self._engine, self._asked, computes=self.visit.generates):
            return Response(blame.as_clients(whole), 400, content_type=JSON_TYPE)
        return Response(whole, result.status, fields)


def is_streamed(fields: list[tuple[str, str]]) -> bool:
    """Whether an answer comes in chunks; llama.cpp streams server-sent events and nothing else."""
    return any(name.lower() == "content-type" and value.startswith("text/event-stream") for name, value in fields)


class Body:
    """The chunks of an answer. Closed before the last one, it cancels the call.

    Not a generator: one that was never started would not notice that it is closed.
    """

    def __init__(self, answering: Answering, result: EngineResponse, held: ExitStack) -> None:
        """Pass on ``result``; ``held`` ends with it."""
        self._answering, self._result, self._held = answering, result, held
        self._streamed = is_streamed(list(result.headers))
        self._ended = False
        self._broken = False

    def __iter__(self) -> Iterator[bytes]:
        """Chunk after chunk, empty ones left out: they would end a chunked body."""
        visit = self._answering.visit
        pieces = iter(self._result)
        self._broken = True  # unless it goes on
        while (chunk := next(pieces, None)) is not None:
            if chunk:
                if self._streamed:
                    visit.piece(chunk)
                else:
                    visit.read(chunk)
                self._broken = False
                yield chunk
                self._broken = True
        self._ended, self._broken = True, False
        visit.end = self._answering.ended_by
        if visit.end == TIME and self._streamed:
            yield b"event: error\ndata: " + self._answering.too_late + b"\n\n"

    def close(self) -> None:
        """Free what the answer holds; may be called again."""
        visit = self._answering.visit
        if not self._ended:
            self._answering.call.cancel()
            early = self._answering.ended_by
            visit.end = early if early != WHOLE else BROKEN if self._broken else GONE
        self._held.close()
        self._result.close()
        if self._streamed:
            # Flask's response closes what it passes through, and tells nobody.
            self._answering.observer.end(visit)
