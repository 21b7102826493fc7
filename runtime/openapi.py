"""The OpenAPI 3.1 description that the server serves at ``/openapi.json``.

The paths are those of `api.py`. Of the bodies it says what this server and llama.cpp read; a field that is not named is
passed to llama.cpp as it is.
"""

from __future__ import annotations

from typing import Any

from solofile.runtime.api import DISABLED, ROUTES, generates
from solofile.runtime.health import HEALTH_PATHS

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_WHOLE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_ANY: Schema = {"type": "object"}


def _object(required: str = "", **fields: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": fields}
    return {**made, "required": required.split()} if required else made


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _some(*choices: Schema) -> Schema:
    return {"anyOf": list(choices)}


_SAMPLING: dict[str, Schema] = {
    "temperature": {"type": "number", "minimum": 0},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": _WHOLE,
    "min_p": {"type": "number", "minimum": 0, "maximum": 1},
    "repeat_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "seed": _WHOLE,
    "stop": _some(_TEXT, _list(_TEXT)),
    "stream": _FLAG,
    "n_probs": {"type": "integer", "minimum": 0},
    "logit_bias": _some(_list({}), _ANY),
    "grammar": _TEXT,
    "json_schema": _ANY,
    "cache_prompt": _FLAG,
    "timings_per_token": _FLAG,
    "id_slot": _WHOLE,
}
_LIMIT: Schema = {"type": "integer", "minimum": -1, "maximum": 2**31 - 1}
_PROMPT = _some(_TEXT, _list(_some(_TEXT, _WHOLE)))
_PART = _object(
    "type", type={"enum": ["text", "image_url", "input_audio"]}, text=_TEXT,
    image_url=_object("url", url={"type": "string", "description": "A data: URL; no other is fetched."}),
    input_audio=_ANY,
)  # fmt: skip
_MESSAGE = _object(
    "role", role={"enum": ["system", "user", "assistant", "tool", "developer"]},
    content=_some(_TEXT, _list(_PART), {"type": "null"}), tool_calls=_list(_ANY), tool_call_id=_TEXT, name=_TEXT,
)  # fmt: skip
_FUNCTION = _object("name", name=_TEXT, description=_TEXT, parameters=_ANY)
_TOOL = _object("type function", type={"const": "function"}, function=_FUNCTION)

_COMPLETION = _object("prompt", prompt=_PROMPT, n_predict=_LIMIT, max_tokens=_LIMIT, **_SAMPLING)
_CHAT = _object(
    "messages", model=_TEXT, messages={**_list(_MESSAGE), "minItems": 1}, max_tokens=_LIMIT,
    max_completion_tokens=_LIMIT, tools=_list(_TOOL), tool_choice=_some(_TEXT, _ANY),
    response_format=_object("type", type={"enum": ["text", "json_object", "json_schema"]}, json_schema=_ANY),
    stream_options=_object(include_usage=_FLAG), logprobs=_FLAG, top_logprobs=_WHOLE, n=_WHOLE,
    reasoning_format=_TEXT, chat_template_kwargs=_ANY, parallel_tool_calls=_FLAG, **_SAMPLING,
)  # fmt: skip
_RESPONSES = _object(
    "input", model=_TEXT, input=_some(_TEXT, _list(_ANY)), instructions=_TEXT, max_output_tokens=_LIMIT, stream=_FLAG,
    tools=_list(_ANY), temperature=_NUMBER, top_p=_NUMBER, text=_ANY,
)  # fmt: skip
_MESSAGES = _object(
    "messages max_tokens", model=_TEXT, max_tokens=_LIMIT, messages={**_list(_MESSAGE), "minItems": 1},
    system=_some(_TEXT, _list(_ANY)), stop_sequences=_list(_TEXT), stream=_FLAG, temperature=_NUMBER, top_k=_WHOLE,
    top_p=_NUMBER, tools=_list(_ANY), tool_choice=_ANY,
)  # fmt: skip
_EMBEDDINGS = _object(
    "input", input=_PROMPT, model=_TEXT, encoding_format={"enum": ["float", "base64"]}, dimensions=_WHOLE
)
_RERANK = _object("query documents", query=_TEXT, documents=_list(_TEXT), model=_TEXT, top_n=_WHOLE)
_ADAPTERS = _list(_object("id scale", id=_WHOLE, scale=_NUMBER))

BODIES: dict[str, Schema] = {
    "/completion": _COMPLETION,
    "/completions": _COMPLETION,
    "/chat/completions": _CHAT,
    "/chat/completions/control": _object("id action", id=_TEXT, action=_TEXT),
    "/chat/completions/input_tokens": _CHAT,
    "/responses": _RESPONSES,
    "/responses/input_tokens": _RESPONSES,
    "/messages": _MESSAGES,
    "/messages/count_tokens": _MESSAGES,
    "/infill": _object("input_prefix input_suffix", input_prefix=_TEXT, input_suffix=_TEXT, input_extra=_list(_ANY),
                       prompt=_TEXT, n_predict=_LIMIT, **_SAMPLING),
    "/embedding": _object("content", content=_PROMPT, embd_normalize=_WHOLE),
    "/embeddings": _EMBEDDINGS,
    "/rerank": _RERANK,
    "/reranking": _RERANK,
    "/tokenize": _object("content", content=_TEXT, add_special=_FLAG, parse_special=_FLAG, with_pieces=_FLAG),
    "/detokenize": _object("tokens", tokens=_list(_WHOLE)),
    "/apply-template": _CHAT,
    "/lora-adapters": _ADAPTERS,
    "/props": _ANY,
    "/slots/:id_slot": _object(filename=_TEXT),
    "/streams/lookup": _ANY,
}  # fmt: skip
"""The JSON of a route, by its path without /v1."""

_FORM = {"/audio/transcriptions"}
_ERROR = _object("error", error=_object("message", message=_TEXT, type=_TEXT, code=_WHOLE))
_OWN = {
    "/ready": "Whether a load balancer may send requests here.",
    "/metrics": "Figures of this server and of llama.cpp in Prometheus' text format.",
    "/openapi.json": "This description.",
    "/solofile/status": "How far the load of the model is.",
    "/solofile/about": "What the page shows of this program.",
}
_PUBLIC = {*HEALTH_PATHS, "/ready", "/solofile/status"}


def describe(version: str, prefix: str = "", *, locked: bool = False) -> dict[str, Any]:
    """The description; ``locked`` where a key is needed."""
    paths: dict[str, dict[str, Any]] = {}
    for path in (*HEALTH_PATHS, *_OWN):
        summary = _OWN.get(path, "Whether the model is loaded.")
        paths[path] = {"get": _operation("GET", path, summary, locked=locked and path not in _PUBLIC)}
    for method, path in ROUTES:
        shown = path.replace(":id_slot", "{id_slot}")
        summary = "Needs the model; is queued." if generates(path) else "As in llama-server."
        paths.setdefault(shown, {})[method.lower()] = _operation(method, path, summary, locked=locked)
    for path in DISABLED:
        paths[path] = {"get": _operation("GET", path, "llama-server's, and not in a bundle.", locked=locked)}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "solofile", "version": version or "0", "description": "llama-server's API, in one file."},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
    }
    if locked:
        found["components"] = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
    return found


def _operation(method: str, path: str, summary: str, *, locked: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer."},
            "4XX": {"description": "What is wrong with the request.", "content": _json(_ERROR)},
            "503": {"description": "The model is not loaded, or the server stops.", "content": _json(_ERROR)},
        },
    }
    if ":id_slot" in path:
        action = {"name": "action", "in": "query", "required": True, "schema": {"enum": ["save", "restore", "erase"]}}
        found["parameters"] = [{"name": "id_slot", "in": "path", "required": True, "schema": _WHOLE}, action]
    if method == "POST":
        plain = path.removeprefix("/v1")
        if plain in _FORM:
            schema = _object("file", file={"type": "string", "contentMediaType": "application/octet-stream"})
            found["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
        else:
            found["requestBody"] = {"required": True, "content": _json(BODIES[plain])}
    if locked:
        found["security"] = [{"key": []}]
    return found


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
