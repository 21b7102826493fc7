"""What the page asks of the program: about, status, quit, and who may."""

from __future__ import annotations

import json

import pytest
from fake_engine import FakeEngine, Script
from http_support import ABOUT
from solofile.runtime import about
from solofile.runtime.app import create_app
from solofile.runtime.control import Control, proof
from solofile.runtime.options import parse
from solofile.runtime.server_settings import About, ServerSettings
from werkzeug.test import Client

FACTS = {"hardware": "A CPU, 2 cores", "kernel": "haswell on 2 threads (it is there).", "size": 98_000_000}


def client_of(engine: FakeEngine, control: Control | None = None, about: About = ABOUT, **settings: object) -> Client:
    return Client(create_app(engine, ServerSettings(**settings), about, control))  # type: ignore[arg-type]


# --- about


def test_about_without_more_facts(client: Client) -> None:
    expected = {"name": "tiny", "title": "Tiny model", "system_prompt": "Be brief.", "version": "0.1.0"}
    assert client.get("/solofile/about").get_json() == {**expected, "can_quit": False, "can_switch": False}


def test_about_is_there_before_the_model(engine: FakeEngine) -> None:
    client = client_of(engine, Control(can_quit=True), About("tiny", facts={"defaults": {"seed": 7}, **FACTS}))
    for phase in ("loading", "failed", "stopped"):
        engine.become(phase)  # type: ignore[arg-type]
        found = client.get("/solofile/about").get_json()
        assert (found["can_quit"], found["hardware"], found["defaults"]) == (True, FACTS["hardware"], {"seed": 7})
    assert engine.requests == []


def test_defaults_are_those_of_the_loaded_model(engine: FakeEngine) -> None:
    params = {"temperature": 0.6000000238418579, "top_k": 20, "seed": 4294967295, "max_tokens": -1, "other": 1}
    body = {"default_generation_settings": {"params": params, "n_ctx": 4096}}
    engine.on("GET", "/props", Script([json.dumps(body).encode()]))
    defaults = about.defaults(parse(["--top-p", "0.5", "--temp", "1"]))
    found = client_of(engine, about=About("tiny", facts={"defaults": defaults})).get("/solofile/about").get_json()
    assert found["context"] == 4096
    assert found["defaults"] == {
        "temperature": 0.6, "top_p": 0.5, "top_k": 20, "min_p": 0.05, "repeat_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "max_tokens": -1, "seed": -1,
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"{}", b'{"default_generation_settings": 1}'])
def test_defaults_where_the_model_says_nothing(engine: FakeEngine, body: bytes) -> None:
    engine.on("GET", "/props", Script([body]))
    defaults = about.defaults(parse(["-s", "42", "-n", "100", "--min-p", "0.1"]))
    found = client_of(engine, about=About("tiny", facts={"defaults": defaults})).get("/solofile/about").get_json()
    assert (found["defaults"], found["context"]) == (defaults, None)
    assert (defaults["seed"], defaults["max_tokens"], defaults["min_p"]) == (42, 100, 0.1)


# --- status


def test_status_of_each_phase(engine: FakeEngine) -> None:
    control = Control()
    client = client_of(engine, control, About("tiny", facts=FACTS))

    def status() -> dict[str, object]:
        answer = client.get("/solofile/status")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        found: dict[str, object] = answer.get_json()
        return found

    engine.become("loading", 0.5, "Loading")
    expected = {
        "phase": "loading", "progress": 0.5, "message": "Loading", "name": "tiny", "hardware": FACTS["hardware"],
        "choice": FACTS["kernel"], "size": 98_000_000, "reading": None,
    }  # fmt: skip
    assert status() == expected
    engine.become("failed", 0.0, "the file ends early")
    assert status()["message"] == (
        "The model could not be loaded (the file ends early): --verbose shows llama.cpp's log."
    )
    engine.become("ready")
    assert status()["phase"] == "ready"
    control.end("Ended from the page.")
    assert status()["phase"] == "stopping"
    engine.become("stopped")
    assert client_of(engine).get("/solofile/status").get_json()["phase"] == "stopping"


def test_reading_with_its_speed(engine: FakeEngine) -> None:
    from solofile.runtime.health import Status

    now = [100.0]
    show = Status(engine, ABOUT, Control(), lambda: now[0])
    engine.become("loading")
    engine.read = (0, 1000)
    assert json.loads(show.body())["reading"] == {"done": 0, "total": 1000, "speed": 0, "remaining": None}
    now[0], engine.read = 102.0, (400, 1000)
    assert json.loads(show.body())["reading"] == {"done": 400, "total": 1000, "speed": 200, "remaining": 3.0}
    engine.become("ready")
    assert json.loads(show.body())["reading"] is None


# --- quit


def test_quit_ends_where_the_page_was_opened(engine: FakeEngine) -> None:
    control = Control(can_quit=True)
    client = client_of(engine, control)
    assert client.get("/solofile/quit").status_code == 405
    assert not control.ending
    answer = client.post("/solofile/quit", headers={"Origin": "http://localhost"})
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert (control.ending, control.reason) == (True, "Ended from the page.")


@pytest.mark.parametrize("phase", ["loading", "failed"])
def test_quit_does_not_need_the_model(engine: FakeEngine, phase: str) -> None:
    control = Control(can_quit=True)
    engine.become(phase)  # type: ignore[arg-type]
    assert client_of(engine, control).post("/solofile/quit").status_code == 204
    assert control.ending


def test_quit_of_a_server_is_refused(engine: FakeEngine) -> None:
    control = Control()
    answer = client_of(engine, control).post("/solofile/quit")
    assert answer.status_code == 403
    assert "was not started by its page" in answer.get_json()["error"]["message"]
    assert not control.ending


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9"},  # another program on this machine
        {"Origin": "http://rebound.example", "Host": "rebound.example"},  # DNS rebinding
        {"Host": "rebound.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_quit_for_other_sites_is_refused(engine: FakeEngine, headers: dict[str, str]) -> None:
    control = Control(can_quit=True)
    assert client_of(engine, control).post("/solofile/quit", headers=headers).status_code == 403
    assert not control.ending


@pytest.mark.parametrize("allowed", ["*", "https://friend.example", "localhost"])
def test_quit_is_not_what_an_allowed_site_may(engine: FakeEngine, allowed: str) -> None:
    control = Control(can_quit=True)
    client = client_of(engine, control, allow_origins=(allowed,))
    for origin in ("https://friend.example", "http://localhost:3000"):
        assert client.post("/solofile/quit", headers={"Origin": origin}).status_code == 403
    assert not control.ending


# --- who may


@pytest.mark.parametrize(
    ("method", "path", "opened"),
    [
        ("GET", "/solofile/status", True),
        ("GET", "/solofile/events", True),
        ("GET", "/solofile/about", False),
        ("POST", "/solofile/quit", False),
        ("POST", "/solofile/extract", False),
    ],
)
def test_key_host_and_origin_of_each_route(engine: FakeEngine, method: str, path: str, opened: bool) -> None:
    control = Control(can_quit=True)
    client = client_of(engine, control, api_keys=("sesame",), api_prefix="/llm")
    answer = client.open(f"/llm{path}", method=method)
    assert answer.status_code == (200 if opened else 401)
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}):
        answer = client.open(f"/llm{path}", method=method, headers={**headers, "Authorization": "Bearer sesame"})
        assert answer.status_code == 403, headers
    assert not control.ending
    answer = client.open(f"/llm{path}", method=method, headers={"Authorization": "Bearer sesame"})
    assert answer.status_code in (200, 204, 400)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.open(path, method=method).status_code in (401, 404)


# --- the proof of an instance


def test_only_who_knows_the_secret_can_prove_it(engine: FakeEngine) -> None:
    client = client_of(engine, Control(secret="secret"), api_keys=("k",))
    answer = client.get("/solofile/instance?challenge=abc")
    assert answer.get_json() == {"proof": proof("secret", "abc")}
    assert proof("other", "abc") != proof("secret", "abc") != proof("secret", "abd")
    for query in ("", "?challenge=", f"?challenge={'a' * 129}"):
        assert client.get(f"/solofile/instance{query}").status_code == 404
    assert client_of(engine).get("/solofile/instance?challenge=abc").status_code == 404
