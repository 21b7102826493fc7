"""What clients ask for in words that llama.cpp's server passes over, in the words that it knows.

Both are passed over without an error there, so that the answer is another than the client waits for:

- a tool that is named in ``tool_choice``: see `tool_choice.py`,
- a JSON schema for the answer, but for chat completions: ``text.format`` of responses becomes ``response_format``;
  ``output_config.format`` of Anthropic's messages has no counterpart and is refused with what to do instead.
"""

from __future__ import annotations

import json
from typing import Any

from solofile.runtime import tool_choice
from solofile.runtime.http_errors import BadBodyError, to_json

_CHAT, _RESPONSES, _MESSAGES = "/chat/completions", "/responses", "/v1/messages"
_WORDS = (b'"tool_choice"', b'"text"', b'"output_config"')


def translated(path: str, body: bytes) -> bytes:
    """The body that llama.cpp is to get for ``path``, as it came where nothing in it needs to be said otherwise.

    `BadBodyError` where it asks for what cannot be had.
    """
    path = path.removesuffix("/input_tokens").removesuffix("/count_tokens")
    if not path.endswith((_CHAT, _RESPONSES, _MESSAGES)) or not any(word in body for word in _WORDS):
        return body
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return body  # llama.cpp says what is wrong with it
    if not isinstance(asked, dict):
        return body
    found = tool_choice.settle(asked, messages=path == _MESSAGES)
    if path.endswith(_RESPONSES):
        found = _with_response_format(found)
    elif path == _MESSAGES:
        _refuse_format(found)
    return body if found is asked else to_json(found)


def _format(asked: dict[str, Any], field: str) -> dict[str, Any]:
    """What ``field`` says of the answer's format; nothing where it is plain text."""
    about = asked.get(field)
    found = about.get("format") if isinstance(about, dict) else None
    return found if isinstance(found, dict) and found.get("type") not in (None, "text") else {}


def _with_response_format(asked: dict[str, Any]) -> dict[str, Any]:
    wanted = _format(asked, "text")
    if not wanted or "response_format" in asked:
        return asked
    format_ = {"type": wanted["type"]}
    if "schema" in wanted:
        format_["json_schema"] = {"schema": wanted["schema"]}
    return {**asked, "response_format": format_}


def _refuse_format(asked: dict[str, Any]) -> None:
    if _format(asked, "output_config"):
        raise BadBodyError(
            "output_config.format cannot be had for messages: give the schema as the input_schema of a tool and name "
            "that in tool_choice, or ask /v1/chat/completions with response_format."
        )
