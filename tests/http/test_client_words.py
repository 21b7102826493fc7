"""tool_choice and the answer's format: what clients send, and what llama.cpp gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_engine import FakeEngine, Script
from solofile.runtime.client_words import translated
from solofile.runtime.http_errors import BadBodyError
from werkzeug.test import Client

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


def chat_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def plain_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object"}}


def messages_tool(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}}


def sent(path: str, tools: list[dict[str, Any]], choice: object) -> dict[str, Any]:
    body = {"tools": tools, "tool_choice": choice, "temperature": 0}
    found: dict[str, Any] = json.loads(translated(path, json.dumps(body).encode()))
    assert found.pop("temperature") == 0
    return found


@pytest.mark.parametrize("choice", ["auto", "none", "required", None, {"type": "any"}, {"type": "auto"}, 7])
def test_what_names_no_tool_stays_as_it_came(choice: object) -> None:
    body = json.dumps({"tools": [chat_tool("a")], "tool_choice": choice}, indent=3).encode()
    assert translated(CHAT, body) == body


UNREADABLE = [b'{"tool_choice"', b"[" * 99_999 + b'"tool_choice"', b'["tool_choice"]']


@pytest.mark.parametrize("body", [*UNREADABLE, b'{"tool_choice":{"name":"a"},"tools":4}'], ids=range(4))
def test_what_is_no_request_is_left_to_llama_cpp(body: bytes) -> None:
    assert translated(CHAT, body) == body


def test_other_paths_are_left_alone() -> None:
    body = json.dumps({"tools": [chat_tool("a")], "tool_choice": chat_tool("b")}).encode()
    assert translated("/tokenize", body) == body


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/v1/chat/completions/input_tokens"])
def test_a_named_tool_is_the_only_one_and_required(path: str) -> None:
    choice = {"type": "function", "function": {"name": "b"}}
    found = sent(path, [chat_tool("a"), chat_tool("b")], choice)
    assert found == {"tools": [chat_tool("b")], "tool_choice": "required"}


def test_the_words_of_responses() -> None:
    found = sent(RESPONSES, [plain_tool("a"), plain_tool("b")], {"type": "function", "name": "a"})
    assert found == {"tools": [plain_tool("a")], "tool_choice": "required"}


def test_the_words_of_messages() -> None:
    tools = [messages_tool("a"), messages_tool("b")]
    assert sent(MESSAGES, tools, {"type": "tool", "name": "b"}) == {"tools": tools[1:], "tool_choice": {"type": "any"}}
    assert sent(MESSAGES, tools, {"type": "none"}) == {}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools(mode: str) -> None:
    tools = [chat_tool(name) for name in "abc"]
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": name}} for name in "ac"]}
    found = sent(CHAT, tools, {"type": "allowed_tools", "allowed_tools": allowed})
    assert found == {"tools": [tools[0], tools[2]], "tool_choice": mode}
    flat = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "b"}]}
    assert sent(RESPONSES, [plain_tool("a"), plain_tool("b")], flat)["tools"] == [plain_tool("b")]


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(BadBodyError, match="names b, which is not among the tools"):
        sent(CHAT, [chat_tool("a")], chat_tool("b"))


def test_through_the_app(client: Client, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script([b"{}"]))
    choice = {"type": "function", "function": {"name": "b"}}
    assert client.post(CHAT, json={"tools": [chat_tool("b"), chat_tool("c")], "tool_choice": choice}).status_code == 200
    assert json.loads(engine.requests[-1].body) == {"tools": [chat_tool("b")], "tool_choice": "required"}
    refused = client.post(CHAT, json={"tools": [chat_tool("a")], "tool_choice": choice})
    assert refused.status_code == 400
    assert "not among the tools" in refused.get_json()["error"]["message"]


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_a_schema_for_responses() -> None:
    format_ = {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}
    asked = {"input": "x", "text": {"format": format_, "verbosity": "low"}}
    found = json.loads(translated(RESPONSES, json.dumps(asked).encode()))
    assert found == {**asked, "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
    plain = {"input": "x", "text": {"format": {"type": "json_object"}}}
    assert json.loads(translated(RESPONSES, json.dumps(plain).encode()))["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("text", [{"format": {"type": "text"}}, {"verbosity": "low"}, "a", {"format": 3}, None])
def test_plain_text_for_responses(text: object) -> None:
    body = json.dumps({"input": "x", "text": text}).encode()
    assert translated(RESPONSES, body) == body


def test_a_schema_for_messages_is_refused(client: Client) -> None:
    format_ = {"type": "json_schema", "schema": SCHEMA}
    refused = client.post(MESSAGES, json={"messages": [], "output_config": {"format": format_}})
    assert refused.status_code == 400
    assert "input_schema of a tool" in refused.get_json()["error"]["message"]
    body = json.dumps({"messages": [], "output_config": {"effort": "low"}}).encode()
    assert translated(MESSAGES, body) == body
