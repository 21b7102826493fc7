"""llama-server's routes, each handed to the engine as it comes and its answer passed on as it is computed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Blueprint, Response, g, request
from solofile.runtime import bodies, client_words, engine_api
from solofile.runtime.admission import Refusal
from solofile.runtime.answering import Answering
from solofile.runtime.http_errors import JSON_TYPE, disabled_body, error_body

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.observer import Observer
    from solofile.runtime.server_settings import ServerSettings
    from solofile.runtime.several import Several
    from solofile.runtime.visit import Visit

_CHAT = ("/chat/completions", "/v1/chat/completions")

ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/props"),
    ("POST", "/props"),
    ("GET", "/models"),
    ("GET", "/v1/models"),
    ("POST", "/completion"),
    ("POST", "/completions"),
    ("POST", "/v1/completions"),
    *(("POST", path) for path in _CHAT),
    ("POST", "/v1/chat/completions/control"),
    ("POST", "/v1/responses"),
    ("POST", "/responses"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/audio/transcriptions"),
    ("POST", "/v1/messages"),
    ("POST", "/infill"),
    ("POST", "/embedding"),
    ("POST", "/embeddings"),
    ("POST", "/v1/embeddings"),
    ("POST", "/rerank"),
    ("POST", "/reranking"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/reranking"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
    *(("POST", f"{path}/input_tokens") for path in _CHAT),
    ("POST", "/responses/input_tokens"),
    ("POST", "/v1/responses/input_tokens"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/lora-adapters"),
    ("POST", "/lora-adapters"),
    ("GET", "/slots"),
    ("POST", "/slots/:id_slot"),
    ("GET", "/v1/stream"),
    ("POST", "/v1/streams/lookup"),
    ("DELETE", "/v1/stream"),
)
"""Method and path pattern, as `server.cpp` registers them for one model; health is answered by `health.py`, metrics
by `observe_api.py`."""

WITHOUT_SLOT = ("/props", "/models", "/tokenize", "/detokenize", "/apply-template", "/slots", "/lora-adapters",
                "/stream", "/input_tokens", "/count_tokens", "/control", "/streams/lookup")  # fmt: skip
"""How the paths end (but for a parameter) that the model need not compute for: they are not queued."""

DISABLED: tuple[str, ...] = ("/cors-proxy", "/tools")
"""Features of llama-server that a bundle does not have, for GET and POST."""

_SECRET_FIELDS = frozenset({"authorization", "x-api-key", "cookie"})


_LISTS = frozenset({"/models", "/v1/models"})


def generates(path: str) -> bool:
    """Does an answer of this route need a slot of the model?"""
    return not path.replace("/:id_slot", "").endswith(WITHOUT_SLOT)


def make_blueprint(
    engine: Engine, settings: ServerSettings, observer: Observer, several: Several | None = None
) -> Blueprint:
    """Every route of llama-server; with ``several`` models requests may name one, as for its router."""
    group = Blueprint("api", __name__, url_prefix=settings.api_prefix or None)
    computed = {settings.api_prefix + path for _, path in ROUTES if generates(path)}

    def forward(**_values: str) -> Response:
        visit: Visit = g.visit
        if request.path in computed:
            entered = observer.admission.enter(visit.key)
            if isinstance(entered, Refusal):
                return refused(visit, entered)
            visit.ticket, visit.generates = entered, True
        asked, constrained = to_engine(len(settings.api_prefix), settings.max_tokens if visit.generates else 0)
        if several is not None and asked.method == "POST" and (refusal := several.asked(asked.path, asked.body)):
            return Response(error_body(400, refusal), 400, content_type=JSON_TYPE)
        with ExitStack() as stack:
            if constrained and visit.generates and observer.stuck is not None:
                observer.stuck.begin()
                stack.callback(observer.stuck.finish)
            limit = settings.max_seconds if visit.generates else 0.0
            response = Answering(engine, asked, visit, observer, limit).response(stack)
        if several is not None and asked.path in _LISTS and response.status_code == 200:
            response.set_data(several.listed(response.get_data()))
        return response

    def disabled() -> Response:
        return Response(disabled_body(), 403, content_type=JSON_TYPE)

    for method, path in ROUTES:
        rule = path.replace(":id_slot", "<id_slot>")
        group.add_url_rule(rule, f"{method} {path[1:]}", forward, methods=[method], provide_automatic_options=False)
    for path in DISABLED:
        group.add_url_rule(path, path[1:], disabled, methods=["GET", "POST"], provide_automatic_options=False)
    return group


def refused(visit: Visit, refusal: Refusal) -> Response:
    """The answer to who is not let in."""
    visit.refused = refusal.reason
    fields = {"Retry-After": str(refusal.retry_after)}
    return Response(error_body(refusal.status, refusal.message), refusal.status, fields, content_type=JSON_TYPE)


def to_engine(prefix_length: int, max_tokens: int = 0) -> tuple[engine_api.Request, bool]:
    """The current request as the engine wants it, and whether its answer is held to a grammar.

    What proves who the client is stays here. `BadBodyError` where the body would be no use to the engine.
    """
    body, files = read_body()
    path, constrained = request.path[prefix_length:], False
    if request.method == "POST":
        body, constrained = bodies.check(path, body, max_tokens)
    asked = engine_api.Request(
        method="GET" if request.method == "HEAD" else request.method,
        path=path,
        query=request.query_string.decode("latin-1"),
        headers={name: value for name, value in request.headers.items() if name.lower() not in _SECRET_FIELDS},
        body=client_words.translated(path, body),
        files=files,
    )
    return asked, constrained


def read_body() -> tuple[bytes, dict[str, engine_api.Upload]]:
    """Body and files; of a form the text fields become a JSON object, repeated ones a list, as in llama-server."""
    if request.method != "POST" or request.mimetype != "multipart/form-data":
        return request.get_data(cache=False), {}
    fields = {name: values[0] if len(values) == 1 else values for name, values in request.form.lists()}
    files = {
        name: engine_api.Upload(file.filename or "", file.content_type or "", file.read())
        for name, file in request.files.items(multi=True)
    }
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass"), files
