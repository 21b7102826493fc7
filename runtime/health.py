"""Health and status: answered without the engine, from the first moment on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solofile.runtime.http_errors import JSON_TYPE, LOADING, error_body, to_json

if TYPE_CHECKING:
    from flask import Blueprint
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


def status_body(state: State, about: About) -> bytes:
    """The JSON that the page asks for while the model loads."""
    return to_json(
        {
            "phase": state.phase,
            "progress": round(min(max(state.progress, 0.0), 1.0), 4),
            "message": state.message,
            "name": about.title or about.name,
        }
    )


def make_blueprint(engine: Engine, settings: ServerSettings, about: About) -> Blueprint:
    """``/health``, ``/v1/health``, ``/solofile/status``."""
    from flask import Blueprint, Response

    group = Blueprint("health", __name__, url_prefix=settings.api_prefix or None)

    def health() -> Response:
        status, body = health_answer(engine.state())
        return Response(body, status, content_type=JSON_TYPE)

    def status() -> Response:
        body = status_body(engine.state(), about)
        return Response(body, content_type=JSON_TYPE, headers={"Cache-Control": "no-store"})

    for path in HEALTH_PATHS:
        group.add_url_rule(path, f"health {path}", health, provide_automatic_options=False)
    group.add_url_rule("/solofile/status", "status", status, provide_automatic_options=False)
    return group
