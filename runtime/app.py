"""The Flask app: llama-server's API in front of an engine, and the page.

One Blueprint a group of routes: `health.py`, `api.py`, `page.py`, … What every request goes through is here, in
llama-server's order: who asks (`guard.py`), then whether the model is there, then the key (`auth.py`). And every
request is seen to begin and to end (`observer.py`), whatever becomes of it.
"""

from __future__ import annotations

import io
import logging
from typing import IO, TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
import flask
from flask import Flask, Response, g, request
from solofile.runtime import api, health, observe_api, page, page_api
from solofile.runtime.auth import PUBLIC_PATHS, Keys
from solofile.runtime.control import Control
from solofile.runtime.errors import SolofileError
from solofile.runtime.guard import Guard
from solofile.runtime.http_errors import (
    BAD_KEY,
    JSON_TYPE,
    NOT_FOUND,
    BadBodyError,
    RequestTooLargeError,
    error_body,
)
from solofile.runtime.observer import Observer
from solofile.runtime.visit import ID_HEADER
from werkzeug.exceptions import ClientDisconnected, HTTPException

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.server_settings import About, ServerSettings
    from solofile.runtime.several import Several
    from solofile.runtime.visit import Visit

MAX_FORM_PARTS = 1024
"""Parts of a multipart form, as in llama-server."""

log = logging.getLogger("solofile.http")


class InMemoryRequest(flask.Request):
    """Keeps uploads in memory, bounded by the body limit: a bundle writes no files that nobody asked for."""

    def _get_file_stream(self, *_about: object, **_more: object) -> IO[bytes]:
        return io.BytesIO()


class App(Flask):
    """Flask without the files and folders of a site."""

    request_class = InMemoryRequest


def create_app(
    engine: Engine, settings: ServerSettings, about: About, control: Control | None = None,
    several: Several | None = None, observer: Observer | None = None,
) -> Flask:  # fmt: skip
    """The app for ``engine``; it starts nothing and stops nothing, but asks ``control`` to where the page may.

    ``several`` is None for a bundle of one model.
    """
    control = control or Control()
    observer = observer or Observer(engine, settings, about)
    status = health.Status(engine, about, control)
    app = App(__name__, static_folder=None, root_path=".", instance_path="/")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.register_blueprint(health.make_blueprint(engine, settings, status))
    app.register_blueprint(observe_api.make_blueprint(engine, settings, about, observer))
    app.register_blueprint(api.make_blueprint(engine, settings, observer, several))
    app.register_blueprint(page_api.make_blueprint(engine, settings, about, control, status, several))
    app.register_blueprint(page.make_blueprint(settings, about.icon))
    _watch_every_request(app, observer)
    _check_every_request(app, engine, settings)
    _answer_errors(app)
    return app


def _watch_every_request(app: Flask, observer: Observer) -> None:
    def begin() -> None:
        fields = request.headers
        client = request.environ.get("REMOTE_ADDR") or "unix"
        visit = observer.begin(fields.get(ID_HEADER), request.method, client, fields.get("traceparent", ""))
        visit.path, visit.route = request.path, request.url_rule.rule if request.url_rule is not None else ""
        g.visit = visit

    def finish(response: Response) -> Response:
        visit: Visit = g.visit
        visit.status = response.status_code
        response.headers[ID_HEADER] = visit.id
        if response.direct_passthrough:
            if not visit.streamed:  # the page's events, or a file
                observer.end(visit)
            return response
        visit.sent = response.calculate_content_length() or 0
        # Called when the client has it all, or is gone.
        response.call_on_close(lambda: observer.end(visit))
        return response

    app.before_request(begin)
    app.after_request(finish)


def _check_every_request(app: Flask, engine: Engine, settings: ServerSettings) -> None:
    guard = Guard(settings)
    keys = Keys((*settings.api_keys, *settings.keys))
    shown = page.PAGE_PATHS if settings.page and settings.static_folder is None else frozenset({"/", "/sw.js"})
    without_model = frozenset(settings.api_prefix + path for path in page_api.WITHOUT_MODEL)
    public = frozenset(settings.api_prefix + path for path in PUBLIC_PATHS | shown) | {settings.api_prefix}

    def check() -> Response | None:
        origin = request.headers.get("Origin")
        if settings.loopback or origin is not None:
            refusal = guard.refusal(request.headers.get("Host"), origin)
            if refusal is not None:
                return _error(403, refusal)
        if request.method == "OPTIONS":
            asked = request.headers.get("Access-Control-Request-Headers")
            return Response("", 200, guard.preflight(origin, asked), content_type="text/html")
        if request.path in public:
            return None
        if request.path not in without_model and (error := health.unavailable(engine.state())) is not None:
            return Response(error, 503, content_type=JSON_TYPE)
        key = keys.find(request.headers.get("Authorization", ""), request.headers.get("X-Api-Key", ""))
        if key is None:
            return _error(401, BAD_KEY)
        g.visit.key = key
        return None

    def finish(response: Response) -> Response:
        fields = response.headers
        fields["X-Content-Type-Options"] = "nosniff"
        fields["X-Frame-Options"] = "DENY"
        fields["Referrer-Policy"] = "no-referrer"
        cors = guard.cors(request.headers.get("Origin"))
        if not cors:
            fields["Cross-Origin-Resource-Policy"] = "same-origin"
        for name, value in cors:
            fields.add(name, value)
        return response

    app.before_request(check)
    app.after_request(finish)


def _answer_errors(app: Flask) -> None:
    def http_error(error: HTTPException) -> Response:
        code = error.code or 500
        if 300 <= code < 400:
            return Response(status=code, headers={"Location": error.get_response().headers.get("Location", "/")})
        message = NOT_FOUND if code == 404 else error.description or error.name
        response = _error(code, message)
        valid = getattr(error, "valid_methods", None)
        if valid:
            response.headers["Allow"] = ", ".join(valid)
        return response

    def our_error(error: SolofileError) -> Response:
        log.error("%s", error)
        return _error(500, str(error))

    def any_error(error: Exception) -> Response:
        log.error("%s %s could not be answered.", request.method, request.path, exc_info=error)
        return _error(500, "The request could not be answered because of an error inside: see the server's messages.")

    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(SolofileError, our_error)
    app.register_error_handler(RequestTooLargeError, lambda _error: _too_large(app))
    app.register_error_handler(BadBodyError, lambda error: _error_of(400, error))
    app.register_error_handler(413, lambda _error: _too_large(app))
    for late in (ClientDisconnected, TimeoutError):
        app.register_error_handler(late, lambda _late: _error(408, "The body did not come, or not in time."))
    app.register_error_handler(Exception, any_error)


def _error(code: int, message: str) -> Response:
    return Response(error_body(code, message), code, content_type=JSON_TYPE)


def _error_of(code: int, error: Exception) -> Response:
    return _error(code, str(error))


def _too_large(app: Flask) -> Response:
    return _error(413, f"The body is longer than {app.config['MAX_CONTENT_LENGTH']} bytes: send a shorter one.")
