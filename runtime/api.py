"""llama-server's routes, each handed to the engine as it comes and its answer passed on as it is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Blueprint, Response, request
from solofile.runtime import client_words, engine_api
from solofile.runtime.http_errors import JSON_TYPE, WATCH_KEY, disabled_body, error_body

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Call, Engine
    from solofile.runtime.server_settings import ServerSettings
    from solofile.runtime.several import Several

_CHAT = ("/chat/completions", "/v1/chat/completions")

ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/metrics"),
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
"""Method and path pattern, as `server.cpp` registers them for one model; health is answered by `health.py`."""

DISABLED: tuple[str, ...] = ("/cors-proxy", "/tools")
"""Features of llama-server that a bundle does not have, for GET and POST."""

_SECRET_FIELDS = frozenset({"authorization", "x-api-key", "cookie"})


_LISTS = frozenset({"/models", "/v1/models"})


def make_blueprint(engine: Engine, settings: ServerSettings, several: Several | None = None) -> Blueprint:
    """Every route of llama-server; with ``several`` models requests may name one, as for its router."""
    group = Blueprint("api", __name__, url_prefix=settings.api_prefix or None)

    def forward(**_values: str) -> Response:
        asked = to_engine(len(settings.api_prefix))
        if several is None:
            return answer(engine.call(asked))
        if asked.method == "POST" and (refusal := several.asked(asked.path, asked.body)):
            return Response(error_body(400, refusal), 400, content_type=JSON_TYPE)
        response = answer(engine.call(asked))
        if asked.path in _LISTS and response.status_code == 200:
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


def to_engine(prefix_length: int) -> engine_api.Request:
    """The current request as the engine wants it; what proves who the client is stays here."""
    body, files = read_body()
    path = request.path[prefix_length:]
    return engine_api.Request(
        method="GET" if request.method == "HEAD" else request.method,
        path=path,
        query=request.query_string.decode("latin-1"),
        headers={name: value for name, value in request.headers.items() if name.lower() not in _SECRET_FIELDS},
        body=client_words.translated(path, body),
        files=files,
    )


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


def answer(call: Call) -> Response:
    """Run ``call`` and pass its answer on; from here to the last chunk a client that goes away cancels it."""
    with ExitStack() as stack:
        if (watch := request.environ.get(WATCH_KEY)) is not None:
            stack.enter_context(watch(call.cancel))
        result = call.run()
        body = Body(call, result, stack.pop_all())
    fields = list(result.headers)
    if is_streamed(fields):
        fields.append(("X-Accel-Buffering", "no"))  # as llama-server: a proxy in between must not collect the chunks
        return Response(body, result.status, fields, direct_passthrough=True)
    with closing(body):
        return Response(b"".join(body), result.status, fields)


def is_streamed(fields: list[tuple[str, str]]) -> bool:
    """Whether an answer comes in chunks; llama.cpp streams server-sent events and nothing else."""
    return any(name.lower() == "content-type" and value.startswith("text/event-stream") for name, value in fields)


class Body:
    """The chunks of an answer. Closed before the last one, it cancels the call.

    Not a generator: one that was never started would not notice that it is closed.
    """

    def __init__(self, call: Call, result: engine_api.Response, watch: ExitStack) -> None:
        """Pass on ``result`` of ``call``; ``watch`` ends with it."""
        self._call = call
        self._result = result
        self._watch = watch
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        """Chunk after chunk, empty ones left out: they would end a chunked body."""
        for chunk in self._result:
            if chunk:
                yield chunk
        self._ended = True

    def close(self) -> None:
        """Free what the answer holds; may be called again."""
        self._watch.close()
        if not self._ended:
            self._call.cancel()
        self._result.close()
