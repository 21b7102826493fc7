"""What only the page asks for, below ``/solofile/``: about, events, model, quit, extract, and the proof of an instance.

About, model and quit are there while the model loads and when it could not be loaded. Where there is a key, all but the
events (which tell what the status tells) and the proof need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Blueprint, Response, request
from solofile.runtime import about as about_facts
from solofile.runtime.guard import origin_netloc
from solofile.runtime.http_errors import JSON_TYPE, STREAM_KEY, error_body, to_json

if TYPE_CHECKING:
    from solofile.runtime.control import Control
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.health import Status
    from solofile.runtime.server_settings import About, ServerSettings
    from solofile.runtime.several import Several

WITHOUT_MODEL = frozenset({"/solofile/about", "/solofile/model", "/solofile/quit"})
"""Answered although the model is not there."""

MAX_CHALLENGE = 128

RETRY = b"retry: 2000\n"
_NO_STORE = {"Cache-Control": "no-store"}


def make_blueprint(
    engine: Engine, settings: ServerSettings, about: About, control: Control, status: Status,
    several: Several | None = None,
) -> Blueprint:  # fmt: skip
    """The routes; ``control`` is what the page may ask of the program."""
    group = Blueprint("page api", __name__, url_prefix=settings.api_prefix or None)

    def add(path: str, view: object, method: str = "GET") -> None:
        options = {"methods": [method], "provide_automatic_options": False}
        group.add_url_rule(f"/solofile/{path}", path, view, **options)  # type: ignore[arg-type]

    add("about", lambda: _about(engine, about, control))
    events = Events(status)
    add("events", lambda: _events(events))
    add("instance", lambda: _instance(control))
    add("model", lambda: _change_model(engine, control, several), "POST")
    add("quit", lambda: _quit(control), "POST")
    add("extract", lambda: _extract(engine), "POST")
    return group


def _about(engine: Engine, about: About, control: Control) -> Response:
    body = {
        "name": about.name,
        "title": about.title or about.name,
        "system_prompt": about.system_prompt,
        "version": about.version,
        "can_quit": control.can_quit,
        "can_switch": control.can_switch,
        **about.facts,
    }
    if "defaults" in body and engine.state().phase == "ready":
        body["defaults"], body["context"] = about_facts.in_force(engine, body["defaults"])
    return Response(to_json(body), content_type=JSON_TYPE, headers=_NO_STORE)


class Events:
    """The events of one server: each change of the status, once."""

    def __init__(self, status: Status) -> None:
        """What ``status`` tells from now on is new."""
        self._status = status
        self._last = b""

    def now(self) -> bytes:
        """The status as an event."""
        return b"event: state\ndata: " + self._status.body() + b"\n\n"

    def changes(self) -> tuple[bytes, bool]:
        """What changed since the last call, and whether changes come seldom from now on: of what loads, all counts."""
        loading = self._status.phase == "loading"
        body = self._status.body() if loading else self._status.phase.encode()
        if body == self._last:
            return b"", not loading
        self._last = body
        return self.now(), not loading


def _events(events: Events) -> Response:
    """An open page's stream, which `streams.py` goes on with; who cannot be left open gets the state alone."""
    leave_open = request.environ.get(STREAM_KEY)
    streams = leave_open() if leave_open is not None and request.method == "GET" else None
    if leave_open is not None and streams is None and request.method == "GET":
        return Response(error_body(503, "Too many pages are open: close some."), 503, content_type=JSON_TYPE)
    if streams is not None:
        streams.follow(events)
    # A list would be given a length, and the answer would end there.
    return Response(
        iter([RETRY + (b"\n" if streams is not None else events.now())]),
        content_type="text/event-stream",
        headers={**_NO_STORE, "X-Accel-Buffering": "no"},
        direct_passthrough=True,
    )


def _instance(control: Control) -> Response:
    """Proves to a second start of this bundle by the same user that this is the first one."""
    challenge = request.args.get("challenge", "")
    if not control.secret or not challenge or len(challenge) > MAX_CHALLENGE:
        return Response(error_body(404, "Nothing is proven here."), 404, content_type=JSON_TYPE)
    return Response(to_json({"proof": control.proof(challenge)}), content_type=JSON_TYPE, headers=_NO_STORE)


def _change_model(engine: Engine, control: Control, several: Several | None) -> Response:
    """Have another model of the bundle run: 202, and the status goes back to loading."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if not _is_own_page() or (not request.headers.get("Origin") and site != "same-origin"):
        return _refused(403, "Only the page itself may change the model.")
    if several is None:
        return _refused(404, "This bundle has one model.")
    asked = request.get_json(silent=True)
    name = asked.get("model") if isinstance(asked, dict) else None
    if name not in several.names:
        return _refused(400, f"There is no model {name} in this bundle: it has {', '.join(several.names)}.")
    phase = engine.state().phase
    if name == several.running and phase == "ready":
        return Response(to_json({"model": name}), content_type=JSON_TYPE)
    if phase == "loading" or control.ending:
        return _refused(409, "A model is being loaded: wait until it is there.")
    if not control.can_switch:
        return _refused(501, f"This system cannot change the model of a program: start it again with --use {name}.")
    control.switch(str(name))
    return Response(to_json({"model": name}), 202, content_type=JSON_TYPE)


def _is_own_page() -> bool:
    """Does nothing say that the request comes from another site's page?"""
    origin = request.headers.get("Origin")
    own = origin is None or origin_netloc(origin) == request.headers.get("Host", "").lower()
    return own and request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _refused(code: int, message: str) -> Response:
    return Response(error_body(code, message), code, content_type=JSON_TYPE)


def _quit(control: Control) -> Response:
    if not _is_own_page():
        return _refused(403, "Only the page itself may end the program.")
    if not control.can_quit:
        return _refused(403, "This server was not started by its page: end it where it was started.")
    control.end("Ended from the page.")
    return Response(status=204)


def _extract(engine: Engine) -> Response:
    from solofile.runtime import attachments

    request.max_content_length = attachments.MAX_BYTES + 64 * 1024  # what stands around the file in a form
    upload = request.files.get("file")
    if upload is None:
        return Response(error_body(400, "There is no file in the form: send it as the field file."), 400,
                        content_type=JSON_TYPE)  # fmt: skip
    try:
        found = attachments.read(upload.filename or "file", upload.stream.read())
        tokens = attachments.count_tokens(engine, found.text)
    except attachments.Unusable as error:
        return Response(error_body(error.status, str(error)), error.status, content_type=JSON_TYPE)
    return Response(to_json({**found._asdict(), "tokens": tokens}), content_type=JSON_TYPE, headers=_NO_STORE)
