"""Errors as llama-server answers them: ``{"error": {"message": …, "type": …, "code": …}}``."""

from __future__ import annotations

import json

JSON_TYPE = "application/json; charset=utf-8"

WATCH_KEY = "solofile.watch"
"""In the WSGI environment: ``watch(on_gone) -> context manager`` of the server; absent in tests without one."""

STREAM_KEY = "solofile.stream"
"""In the WSGI environment: ``stream() -> Streams | None``; called, it leaves this answer open after its body. None
where too many are open already; absent where the client speaks no HTTP/1.1."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    501: "not_supported_error",
    503: "unavailable_error",
    504: "timeout_error",
}

LOADING = "Loading model"
NOT_FOUND = "File Not Found"
BAD_KEY = "Invalid API Key"


class RequestTooLargeError(Exception):
    """The body is longer than the limit; found while reading, where its length was not announced."""


class BadBodyError(Exception):
    """The body is not what its headers announced."""


def to_json(value: object) -> bytes:
    """JSON as llama.cpp writes it: no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def error_body(code: int, message: str) -> bytes:
    """The JSON of an error; its type follows from the status as in llama.cpp, where that knows the status."""
    kind = _TYPES.get(code) or ("invalid_request_error" if code < 500 else "server_error")
    return to_json({"error": {"message": message, "type": kind, "code": code}})


def disabled_body() -> bytes:
    """The JSON of llama-server for a feature that is switched off."""
    return to_json({"error": {"message": "this feature is disabled", "type": "feature_disabled"}})
