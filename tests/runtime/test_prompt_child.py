"""What a build's child process has the model read: the tokens that all requests with a text begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from fake_engine import FakeEngine, Script
from solofile.runtime import prompt_child
from solofile.runtime.engine_api import Request
from solofile.runtime.errors import EngineError

TEMPLATE = "{{ messages }}"


def engine(template: str = TEMPLATE, head: str = "<s>", word_of: int = 1) -> FakeEngine:
    """Renders turns as ``<role>content`` and makes a token of so many letters each."""
    fake = FakeEngine()

    def rendered(request: Request) -> Script:
        turns = json.loads(request.body)["messages"]
        text = head + "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)
        return Script([json.dumps({"prompt": text}).encode()])

    def tokens(request: Request) -> Script:
        text = json.loads(request.body)["content"]
        found = [hash(text[at : at + word_of]) % 10_000 for at in range(0, len(text), word_of)]
        return Script([json.dumps({"tokens": found}).encode()])

    fake.on("POST", "/apply-template", rendered)
    fake.on("POST", "/tokenize", tokens)
    fake.on("GET", "/props", Script([json.dumps({"chat_template": template}).encode()]))
    return fake


CHAT: Mapping[str, Any] = {"chat": {"messages": [{"role": "system", "content": "Be kind."}]}}


def test_chat_up_to_the_users_words() -> None:
    tokens, why = prompt_child.tokens_of(engine(), CHAT)
    assert (len(tokens), why) == (len("<s><system>Be kind.<user>"), "")


def test_token_that_what_follows_may_change_is_left_out() -> None:
    tokens, _ = prompt_child.tokens_of(engine(word_of=4), CHAT)
    assert len(tokens) == len("<s><system>Be kind.<user>") // 4


def test_plain_text_and_tokens() -> None:
    assert len(prompt_child.tokens_of(engine(), {"text": "Once upon a time"})[0]) == 16
    assert prompt_child.tokens_of(engine(), {"tokens": [1, 2, 3]}) == ([1, 2, 3], "")


def test_template_with_a_date_leaves_nothing_to_store() -> None:
    import datetime

    year = str(datetime.datetime.now().astimezone().year)
    tokens, why = prompt_child.tokens_of(engine("{{ strftime_now('%Y') }}", year), CHAT)
    assert (tokens, why) == ([], "the chat template writes the date into each prompt")


def test_refusals_are_said() -> None:
    fake = engine()
    fake.on("POST", "/apply-template", Script([b'{"error":{"message":"no such role"}}'], 400))
    with pytest.raises(EngineError, match="no such role"):
        prompt_child.tokens_of(fake, CHAT)


def state(fake: FakeEngine, tokens: list[int], least: int = 3) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    said: list[Mapping[str, Any]] = []
    return prompt_child._state(fake, "system", tokens, "", least, said.append), said


def test_state_is_saved_with_progress() -> None:
    fake = engine()
    events = [{"prompt_progress": {"processed": done}} for done in (2, 4)]
    chunks = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    fake.on("POST", "/completion", Script([b"".join(chunks)[:30], b"".join(chunks)[30:]]))
    fake.on("POST", "/slots/0", Script([b'{"n_saved": 4}']))
    found, said = state(fake, [1, 2, 3, 4])
    assert found == {"name": "system", "tokens": 4}
    assert [one["done"] for one in said] == [2, 4]
    assert json.loads(fake.requests[0].body)["prompt"] == [1, 2, 3, 4]
    assert fake.requests[1].query == "action=save"


def test_short_and_half_saved_states() -> None:
    fake = engine()
    assert "it has 2 tokens" in state(fake, [1, 2])[0]["refused"]
    fake.on("POST", "/completion", Script([b""]))
    fake.on("POST", "/slots/0", Script([b'{"n_saved": 1}']))
    with pytest.raises(EngineError, match="saved 1 tokens of the 4"):
        state(fake, [1, 2, 3, 4])


def test_error_in_the_midst_of_reading() -> None:
    fake = engine()
    fake.on("POST", "/completion", Script([b'error: {"error":{"message":"out of space"}}\n\n']))
    with pytest.raises(EngineError, match="out of space"):
        state(fake, [1, 2, 3, 4])
