"""Health and status: answered without the engine, from the first moment on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from solofile.runtime.engine_api import failure
from solofile.runtime.http_errors import JSON_TYPE, LOADING, error_body, to_json

if TYPE_CHECKING:
    from flask import Blueprint
    from solofile.runtime.control import Control
    from solofile.runtime.engine_api import Engine, State
    from solofile.runtime.server_settings import About, ServerSettings

HEALTH_PATHS = ("/health", "/v1/health")


def unavailable(state: State) -> bytes | None:
    """The error of an engine that cannot answer (status 503), None where it can."""
    if state.phase == "ready":
        return None
    if state.phase == "loading":
        return error_body(503, LOADING)
    fallback = "The model could not be loaded." if state.phase == "failed" else "The server is stopping."
    return error_body(503, state.message or fallback)


def health_answer(state: State) -> tuple[int, bytes]:
    """Status and JSON of ``/health``, as llama-server answers it."""
    error = unavailable(state)
    return (200, to_json({"status": "ok"})) if error is None else (503, error)


class Status:
    """What the page shows while the model loads, and learns of what becomes of it."""

    def __init__(
        self, engine: Engine, about: About, control: Control, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Of ``engine``, from now on."""
        self._engine, self._about, self._control, self._clock = engine, about, control, clock
        self._begin = clock()

    @property
    def phase(self) -> str:
        """loading, ready, failed or stopping."""
        return self._phase(self._engine.state())

    def _phase(self, state: State) -> str:
        if self._control.next_model:
            return "loading"
        return "stopping" if self._control.ending or state.phase == "stopped" else state.phase

    def body(self) -> bytes:
        """The JSON of ``/solofile/status``."""
        state, about = self._engine.state(), self._about
        phase = self._phase(state)
        return to_json(
            {
                "phase": phase,
                "progress": round(min(max(state.progress, 0.0), 1.0), 4),
                "message": failure(state) if phase == "failed" else state.message,
                "name": about.title or about.name,
                "hardware": about.facts.get("hardware", ""),
                "choice": about.facts.get("kernel", ""),
                "size": about.facts.get("size", 0),
                "reading": self._reading() if phase == "loading" else None,
            }
        )

    def _reading(self) -> dict[str, float | None] | None:
        found = self._engine.reading()
        if found is None:
            return None
        (done, total), elapsed = found, self._clock() - self._begin
        speed = done / elapsed if elapsed > 0 else 0.0
        remaining = round((total - done) / speed, 1) if speed else None
        return {"done": done, "total": total, "speed": round(speed), "remaining": remaining}


def make_blueprint(engine: Engine, settings: ServerSettings, show: Status) -> Blueprint:
    """``/health``, ``/v1/health``, ``/solofile/status``."""
    from flask import Blueprint, Response

    group = Blueprint("health", __name__, url_prefix=settings.api_prefix or None)

    def health() -> Response:
        status, body = health_answer(engine.state())
        return Response(body, status, content_type=JSON_TYPE)

    def status() -> Response:
        return Response(show.body(), content_type=JSON_TYPE, headers={"Cache-Control": "no-store"})

    for path in HEALTH_PATHS:
        group.add_url_rule(path, f"health {path}", health, provide_automatic_options=False)
    group.add_url_rule("/solofile/status", "status", status, provide_automatic_options=False)
    return group
