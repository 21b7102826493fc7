"""Other people's clients against a bundle: each example of recipes/clients is run, and its answers looked at."""

from __future__ import annotations

import json
import re

import pytest
from client_support import KeyedServer, Said

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

CAPITAL = "The capital of France is Paris."
STORY = "Write a very long story about a lighthouse."


def is_json(text: str) -> bool:
    return text.startswith("{")


def test_a_chat(said: Said) -> None:
    text = said.one("chat")
    assert (json.loads(text)["choices"][0]["message"]["content"] if is_json(text) else text) == CAPITAL


def test_a_stream_comes_in_pieces(said: Said) -> None:
    text = said.one("stream").removeprefix("data: ")
    if is_json(text):
        assert text.endswith("[DONE]")
        deltas = [json.loads(line)["choices"][0]["delta"] for line in text.splitlines() if is_json(line)]
        pieces = [delta["content"] for delta in deltas if delta.get("content")]
    else:
        pieces = text.split("|")
    assert len(pieces) > 4
    assert "".join(pieces) == CAPITAL


def test_a_tool_is_called(said: Said) -> None:
    text = said.one("tools")
    if is_json(text):
        (choice,) = json.loads(text)["choices"]
        assert choice["finish_reason"] == "tool_calls"
        (call,) = choice["message"]["tool_calls"]
        text = f"{call['function']['name']} {call['function']['arguments']}"
    name, _, arguments = text.partition(" ")
    assert name == "get_weather"
    assert json.loads(arguments) == {"city": "Paris"}


def test_an_answer_follows_a_schema(said: Said) -> None:
    for text in said.parts["schema"]:
        found = json.loads(text)
        found = json.loads(found["choices"][0]["message"]["content"]) if "choices" in found else found
        assert set(found) == {"name", "population"}
        assert isinstance(found["name"], str) and 0 < len(found["name"]) <= 30
        assert isinstance(found["population"], int) and 0 <= found["population"] <= 99999999


def test_embeddings(said: Said) -> None:
    if "embeddings" not in said.parts:
        assert "chat" in said.parts
        pytest.skip("Anthropic's API has no embeddings")
    text = said.one("embeddings")
    data = json.loads(text)["data"] if is_json(text) else []
    lengths = [len(item["embedding"]) for item in data] or [int(word) for word in text.split()]
    assert lengths == [576, 576]  # SmolLM2-135M's


def test_who_goes_away_frees_the_slot(said: Said, keyed_server: KeyedServer) -> None:
    """There is one slot, so the next answer had to wait for it; and 4,000 tokens were asked for."""
    assert re.match(r"the next answer came after [\d.]+ s", said.one("cancel"))
    assert said.tokens < 700
    (slot,) = keyed_server.json("GET", "/slots")
    assert not slot["is_processing"]


def test_the_answer_that_is_left_would_have_been_long(keyed_server: KeyedServer) -> None:
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": STORY}]
    body = {"messages": messages, "temperature": 0, "max_tokens": 1000}
    answer = keyed_server.json("POST", "/v1/chat/completions", body)
    assert answer["choices"][0]["finish_reason"] == "length"


def test_nobody_calls_home(said: Said, keyed_server: KeyedServer) -> None:
    if not said.traced:
        pytest.skip("needs strace (Debian package strace)")
    assert said.peers == {("127.0.0.1", keyed_server.running.port)}
