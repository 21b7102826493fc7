"""Whose fault a failure is. llama.cpp answers 500 for much that is wrong with a request and not with the server.

What it says is a text for people, so it is not what decides. A route that computes nothing fails by its input alone.
And what a chat route cannot answer is given to the route that only lays out its prompt: where that fails as well, the
request is at fault.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from solofile.runtime.http_errors import error_body

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine, Request

_LAYS_OUT = {
    "/chat/completions": "/apply-template",
    "/responses": "/v1/responses/input_tokens",
    "/messages": "/v1/messages/count_tokens",
}


def is_clients(engine: Engine, request: Request, *, computes: bool) -> bool:
    """Is it the request that made its answer fail? ``computes``: does the route need the model to compute?"""
    if request.method != "POST":
        return False
    if not computes:
        return True
    other = _LAYS_OUT.get(request.path.removeprefix("/v1"))
    if other is None:
        return False
    answer = engine.call(replace(request, path=other)).run()
    try:
        for _ in answer:
            pass
        return answer.status >= 400
    finally:
        answer.close()


def as_clients(body: bytes) -> bytes:
    """The error of the core, with the same words, as an error of the request (400)."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = "The request cannot be answered."
    return error_body(400, str(message))
