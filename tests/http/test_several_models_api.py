"""Several models over HTTP: the page's change of the model, and what the API says of the others."""

from __future__ import annotations

import json

import pytest
from fake_engine import FakeEngine, Script
from http_support import ABOUT
from solofile.runtime.app import create_app
from solofile.runtime.control import Control
from solofile.runtime.server_settings import About, Icon, ServerSettings
from solofile.runtime.several import Several
from werkzeug.test import Client, TestResponse

THREE = Several(("one", "two", "three"), "two", frozenset({"bundle", "mine"}))
OWN = {"Origin": "http://localhost"}


def client_of(engine: FakeEngine, control: Control | None = None, **settings: object) -> Client:
    return Client(create_app(engine, ServerSettings(**settings), ABOUT, control, THREE))  # type: ignore[arg-type]


def change(client: Client, model: object, **headers: str) -> TestResponse:
    return client.post("/solofile/model", json={"model": model}, headers={**OWN, **headers})


def message(answer: TestResponse) -> str:
    found = answer.get_json()["error"]["message"]
    assert isinstance(found, str)
    return found


# --- the page's change


def test_the_page_changes_the_model(engine: FakeEngine) -> None:
    control = Control(can_switch=True)
    client = client_of(engine, control)
    answer = change(client, "one")
    assert (answer.status_code, answer.get_json()) == (202, {"model": "one"})
    assert (control.next_model, control.reason) == ("one", "Changing to the model one.")
    assert client.get("/solofile/status").get_json()["phase"] == "loading"  # and not stopping
    assert change(client, "three").status_code == 409
    assert control.next_model == "one"


def test_the_one_that_runs_goes_on(engine: FakeEngine) -> None:
    control = Control(can_switch=True)
    assert change(client_of(engine, control), "two").status_code == 200
    assert not control.ending
    engine.become("failed")
    assert change(client_of(engine, control), "two").status_code == 202  # tried again


@pytest.mark.parametrize("name", ["four", "", None, 7, ["one"]])
def test_models_that_are_not_there(engine: FakeEngine, name: object) -> None:
    control = Control(can_switch=True)
    answer = change(client_of(engine, control), name)
    assert answer.status_code == 400
    assert "it has one, two, three" in message(answer)
    assert not control.ending


def test_while_one_loads_or_where_it_cannot_be(engine: FakeEngine) -> None:
    control = Control()
    answer = change(client_of(engine, control), "one")
    assert (answer.status_code, "start it again with --use one" in message(answer)) == (501, True)
    engine.become("loading")
    assert change(client_of(engine, Control(can_switch=True)), "one").status_code == 409
    single = Client(create_app(engine, ServerSettings(), ABOUT, control))
    assert change(single, "one").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no page at all
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_only_the_page_itself_may(engine: FakeEngine, headers: dict[str, str]) -> None:
    control = Control(can_switch=True)
    for allowed in ((), ("*",)):
        client = client_of(engine, control, allow_origins=allowed)
        assert client.post("/solofile/model", json={"model": "one"}, headers=headers).status_code == 403
    assert not control.ending


def test_with_the_key_alone(engine: FakeEngine) -> None:
    control = Control(can_switch=True)
    client = client_of(engine, control, api_keys=("k",))
    assert change(client, "one").status_code == 401
    assert not control.ending
    assert change(client, "one", Authorization="Bearer k").status_code == 202


# --- the API


def asked(client: Client, path: str, **fields: object) -> TestResponse:
    return client.post(path, json={"messages": [], "prompt": "x", **fields})


PATHS = ["/v1/chat/completions", "/completion", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/rerank"]


@pytest.mark.parametrize("path", PATHS)
def test_another_model_is_an_error(engine: FakeEngine, path: str) -> None:
    client = client_of(engine)
    for name, says in (("one", "model 'one' is not loaded, 'two' is"), ("gpt-4", "model 'gpt-4' not found")):
        answer = asked(client, path, model=name)
        assert answer.status_code == 400
        assert answer.get_json()["error"]["type"] == "invalid_request_error"
        assert message(answer).startswith(says)
    assert engine.requests == []


@pytest.mark.parametrize("fields", [{}, {"model": "two"}, {"model": "mine"}, {"model": "bundle"}, {"model": ""}])
def test_the_one_that_runs_answers(engine: FakeEngine, fields: dict[str, object]) -> None:
    assert asked(client_of(engine), "/completion", **fields).status_code == 200
    assert len(engine.requests) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff"])
def test_what_is_no_json_object_names_no_model(engine: FakeEngine, body: bytes) -> None:
    answer = client_of(engine).post("/completion", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert "model" not in message(answer)
    assert engine.requests == []


def test_one_model_takes_any_name(client: Client, engine: FakeEngine) -> None:
    assert asked(client, "/completion", model="gpt-4").status_code == 200
    assert len(engine.requests) == 1


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_all_of_them_are_listed(engine: FakeEngine, path: str) -> None:
    listed = {"object": "list", "models": [{"name": "two"}], "data": [{"id": "two", "meta": {"n_ctx": 9}}]}
    engine.on("GET", path, Script([json.dumps(listed).encode()]))
    answer = client_of(engine).get(path)
    assert int(answer.headers["Content-Length"]) == len(answer.get_data())
    found = answer.get_json()
    assert found["models"] == listed["models"]
    assert [(one["id"], one["status"]["value"]) for one in found["data"]] == [
        ("two", "loaded"),
        ("one", "unloaded"),
        ("three", "unloaded"),
    ]
    assert found["data"][0]["meta"] == {"n_ctx": 9}
    assert all(one["object"] == "model" for one in found["data"][1:])


# --- the icon


def test_the_bundles_icon(engine: FakeEngine) -> None:
    own = Icon(b"\x89PNG", "image/png", '"abc"')
    client = Client(create_app(engine, ServerSettings(api_keys=("k",)), About("tiny", icon=own)))
    answer = client.get("/icon")
    assert (answer.status_code, answer.get_data(), answer.content_type) == (200, b"\x89PNG", "image/png")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert client.get("/icon", headers={"If-None-Match": '"abc"'}).status_code == 304


def test_the_icon_of_every_page(client: Client) -> None:
    answer = client.get("/icon")
    assert (answer.status_code, answer.content_type) == (200, "image/svg+xml; charset=utf-8")
    assert answer.get_data() == client.get("/icon.svg").get_data()
