"""The API through Flask's client: what reaches the engine and what comes back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script
from http_support import MakeClient
from solofile.runtime.api import DISABLED, ROUTES
from solofile.runtime.errors import EngineError
from werkzeug.test import Client

LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_reaches_the_engine(client: Client, engine: FakeEngine, method: str, path: str) -> None:
    path = path.replace(":id_slot", "3")
    engine.on(method, path, Script([b'{"here":1}'], fields=[("Content-Type", "application/json; charset=utf-8")]))
    answer = client.open(path, method=method, data=b'{"a":1}' if method == "POST" else None)
    assert answer.status_code == 200
    assert answer.get_data() == b'{"here":1}'
    assert (engine.requests[-1].method, engine.requests[-1].path) == (method, path)


def test_routes_are_those_of_llama_server() -> None:
    """The table against llama.cpp's own source, where it is at hand."""
    cache = Path(os.environ.get("SOLOFILE_BUILD_CACHE") or Path("~/.cache/solofile-build").expanduser())
    sources = list(cache.glob("sources/*/vendor/llama.cpp/tools/server/server.cpp"))
    if not sources:
        pytest.skip("llama.cpp's source is not in the build cache")
    text = sources[0].read_text("utf-8")
    names = {"get": "GET", "post": "POST", "del": "DELETE"}
    found = {(names[verb], path) for verb, path in re.findall(r'ctx_http\.(get|post|del)\s*\("([^"]+)"', text)}
    ours = {"/health", "/v1/health", "/metrics", *DISABLED}
    router_only = {path for _, path in found if path.startswith("/models/")} | ours
    single = {route for route in found if route[1] not in router_only} - {("POST", "/models"), ("DELETE", "/models")}
    assert set(ROUTES) == single


def test_body_query_and_headers_reach_the_engine(client: Client, engine: FakeEngine) -> None:
    engine.on("POST", "/slots/0", Script())
    body = '{"filename": "ä",  "other":1.50}'.encode()
    secrets = {"Authorization": "Bearer x", "X-Api-Key": "y", "Cookie": "z=1", "X-Conversation-Id": "c1"}
    client.post("/slots/0?action=save&x=%20y", data=body, headers=secrets)
    request = engine.requests[-1]
    assert request.body == body
    assert request.query == "action=save&x=%20y"
    assert request.headers["X-Conversation-Id"] == "c1"
    assert not {"authorization", "x-api-key", "cookie"} & {name.lower() for name in request.headers}


def test_status_type_and_headers_are_kept(client: Client, engine: FakeEngine) -> None:
    fields = [("Content-Type", "application/json; charset=utf-8"), ("X-Extra", "1")]
    engine.on("POST", "/tokenize", Script([b'{"error":{}}'], 418, fields))
    answer = client.post("/tokenize", data=b"{}")
    assert answer.status_code == 418
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["X-Extra"] == "1"
    assert answer.headers["Content-Length"] == str(len(b'{"error":{}}'))


def test_streams_are_marked_and_whole(client: Client) -> None:
    answer = client.post("/v1/chat/completions", data=b"{}")
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.get_data().endswith(b"data: [DONE]\n\n")


def test_no_content(client: Client, engine: FakeEngine) -> None:
    engine.on("DELETE", "/v1/stream", Script([], 204))
    answer = client.delete("/v1/stream?conv_id=a%2Fb")
    assert answer.status_code == 204
    assert engine.requests[-1].query == "conv_id=a%2Fb"


def test_head_frees_the_answer(client: Client, engine: FakeEngine) -> None:
    engine.on("GET", "/v1/stream", Script.sse(["x"], repeat=True, delay=0.01))
    with client.head("/v1/stream") as answer:  # closed as a server closes it
        assert answer.get_data() == b""
    response = engine.calls[-1].response
    assert response is not None and response.closed
    assert engine.cancelled


def test_a_form_becomes_json_and_files(client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", None)  # whoever wants one fails
    engine.on("POST", "/v1/audio/transcriptions", Script())
    sound = bytes(range(256)) * 8192  # 2 MB: more than what Werkzeug keeps out of temporary files
    parts = [
        b'Content-Disposition: form-data; name="model"\r\n\r\nm',
        b'Content-Disposition: form-data; name="lang"\r\n\r\nde',
        b'Content-Disposition: form-data; name="lang"\r\n\r\nfr',
        b'Content-Disposition: form-data; name="file"; filename="a b.wav"\r\nContent-Type: audio/wav\r\n\r\n' + sound,
    ]
    body = b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    client.post("/v1/audio/transcriptions", data=body, content_type="multipart/form-data; boundary=edge")
    request = engine.requests[-1]
    assert json.loads(request.body) == {"model": "m", "lang": ["de", "fr"]}
    upload = request.files["file"]
    assert (upload.filename, upload.content_type, upload.data) == ("a b.wav", "audio/wav", sound)


@pytest.mark.parametrize("path", DISABLED)
def test_disabled_features(client: Client, path: str) -> None:
    answer = client.post(path)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": {"message": "this feature is disabled", "type": "feature_disabled"}}


@pytest.mark.parametrize("path", ["/nothing", "/v1/", "/v1//models", "/health/", "/v1/models/x"])
def test_unknown_paths(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.get_data() == b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}'


def test_wrong_method(client: Client) -> None:
    answer = client.get("/v1/chat/completions")
    assert answer.status_code == 405
    assert answer.get_json()["error"]["code"] == 405
    assert "POST" in answer.headers["Allow"]


def test_bodies_over_the_limit(make_client: MakeClient, engine: FakeEngine) -> None:
    client = make_client(max_body=100)
    assert client.post("/completion", data=b"{}" + b" " * 98).status_code == 200
    answer = client.post("/completion", data=b"{}" + b" " * 99)
    assert answer.status_code == 413
    assert answer.get_json()["error"]["code"] == 413
    assert len(engine.requests) == 1


def test_loading(client: Client, engine: FakeEngine) -> None:
    engine.become("loading", 0.25, "Reading the weights")
    for path in ("/health", "/v1/health", "/v1/models", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()) == (503, LOADING)
    assert client.get("/").status_code == 200
    expected = {"phase": "loading", "progress": 0.25, "message": "Reading the weights", "name": "Tiny model"}
    expected |= {"hardware": "", "choice": "", "size": 0, "reading": None}
    assert client.get("/solofile/status").get_json() == expected
    engine.become("ready")
    assert client.get("/health").get_data() == b'{"status":"ok"}'
    assert not engine.requests


def test_failed_says_why(client: Client, engine: FakeEngine) -> None:
    engine.become("failed", 0.5, "There is not enough memory.")
    for path in ("/health", "/v1/models"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.get_json()["error"]["message"] == "There is not enough memory."
    assert client.get("/solofile/status").get_json()["phase"] == "failed"


def test_an_engine_that_fails(client: Client, engine: FakeEngine) -> None:
    engine.on("POST", "/completion", Script(error=EngineError("The engine is gone.")))
    answer = client.post("/completion", data=b"{}")
    assert answer.status_code == 500
    assert answer.get_json()["error"] == {"message": "The engine is gone.", "type": "server_error", "code": 500}


def test_an_engine_that_breaks_hides_its_inside(client: Client, engine: FakeEngine) -> None:
    engine.on("POST", "/completion", Script(error=RuntimeError("secret")))
    answer = client.post("/completion", data=b"{}")
    assert answer.status_code == 500
    assert b"secret" not in answer.get_data()


def test_prefix(make_client: MakeClient, engine: FakeEngine) -> None:
    client = make_client(api_prefix="/llm/a", api_keys=("k",))
    assert client.get("/llm/a/health").status_code == 200
    assert client.get("/health").status_code == 401
    assert client.get("/llm/a/v1/models", headers={"X-Api-Key": "k"}).status_code == 200
    assert engine.requests[-1].path == "/v1/models"
    assert client.get("/llm/a/").status_code == 200
    assert client.get("/llm/a").headers["Location"] == "/llm/a/"
