"""What tells of the server itself: ``/metrics``, ``/ready`` and ``/openapi.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Blueprint, Response
from solofile.runtime import health
from solofile.runtime.exposition import CONTENT_TYPE
from solofile.runtime.http_errors import JSON_TYPE, error_body, to_json
from solofile.runtime.metrics import CoreFigures

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.observer import Observer
    from solofile.runtime.server_settings import About, ServerSettings

_NO_STORE = {"Cache-Control": "no-store"}


def make_blueprint(engine: Engine, settings: ServerSettings, about: About, observer: Observer) -> Blueprint:
    """The routes. `/ready` is open like `/health`; the others need a key where there is one."""
    group = Blueprint("observe", __name__, url_prefix=settings.api_prefix or None)
    figures = CoreFigures(engine)

    def metrics() -> Response:
        return Response(observer.metrics.text() + figures.text(), content_type=CONTENT_TYPE, headers=_NO_STORE)

    def ready() -> Response:
        status, body = ready_answer(engine, observer)
        return Response(body, status, content_type=JSON_TYPE, headers=_NO_STORE)

    def description() -> Response:
        from solofile.runtime import openapi

        found = openapi.describe(about.version, settings.api_prefix, locked=settings.locked)
        return Response(to_json(found), content_type=JSON_TYPE)

    for name, view in (("metrics", metrics), ("ready", ready), ("openapi.json", description)):
        group.add_url_rule(f"/{name}", name.partition(".")[0], view, provide_automatic_options=False)
    return group


def ready_answer(engine: Engine, observer: Observer) -> tuple[int, bytes]:
    """Status and JSON of ``/ready``: for a load balancer, which sends nobody to a server that would refuse."""
    error = health.unavailable(engine.state())
    if error is not None:
        return 503, error
    if observer.admission.closed:
        return 503, error_body(503, "The server is stopping.")
    if observer.admission.full:
        return 503, error_body(503, "The queue is full.")
    return 200, to_json({"status": "ok"})
