"""Who gets in: keys, Host, Origin, CORS."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from http_support import MakeClient
from solofile.runtime.auth import NOBODY, Key, Keys, read_api_keys
from solofile.runtime.errors import InputError
from solofile.runtime.server_settings import ServerSettings
from werkzeug.test import Client

INVALID = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer one"},
        {"Authorization": "Bearer zwei-ä"},
        {"X-Api-Key": "one"},
        {"Authorization": "one"},
    ],
)
def test_right_keys(make_client: MakeClient, headers: dict[str, str]) -> None:
    client = make_client(api_keys=("one", "zwei-ä"))
    wire = {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}
    assert client.get("/v1/models", headers=wire).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer on"},
        {"Authorization": "Bearer onee"},
        {"Authorization": "Basic one"},
        {"Authorization": "wrong", "X-Api-Key": "one"},
        {"X-Api-Key": "ONE"},
        {"Cookie": "key=one"},
    ],
)
def test_wrong_keys(make_client: MakeClient, engine: FakeEngine, headers: dict[str, str]) -> None:
    client = make_client(api_keys=("one", "two"))
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/solofile/about")):
        answer = client.open(path, method=method, headers=headers)
        assert (answer.status_code, answer.get_data()) == (401, INVALID)
    assert client.get("/unknown", headers=headers).status_code == 401
    assert not engine.requests


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/style.css", "/index.html", "/health", "/v1/health", "/solofile/status"]
)
def test_open_without_a_key(make_client: MakeClient, path: str) -> None:
    assert make_client(api_keys=("one",)).get(path).status_code == 200


def test_no_key_means_open() -> None:
    assert Keys(()).find("", "") == NOBODY
    assert Keys(("a",)).find("", "") is None


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\none\n\n two \r\n", "utf-8")
    assert read_api_keys(path) == [Key.of("one", "key-2"), Key.of("two", "key-4")]
    path.write_text("# nothing\n\n", "utf-8")
    with pytest.raises(InputError, match="no key in it"):
        read_api_keys(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_api_keys(tmp_path / "absent")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8"):
        read_api_keys(path)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:9", "LOCALHOST", "localhost."])
def test_names_of_this_machine(client: Client, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "[::2]", "[", ""]
)
def test_foreign_names_are_refused(client: Client, engine: FakeEngine, host: str) -> None:
    for path in ("/v1/models", "/", "/health", "/solofile/status", "/nothing"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.get_json()["error"]["type"] == "permission_error"
    assert not engine.requests


def test_any_name_beyond_loopback(make_client: MakeClient) -> None:
    client = make_client(hosts=("0.0.0.0",))
    assert client.get("/v1/models", headers={"Host": "box.lan:8080"}).status_code == 200
    same = {"Host": "box.lan:8080", "Origin": "http://box.lan:8080"}
    assert client.get("/v1/models", headers=same).status_code == 200
    assert client.get("/v1/models", headers={**same, "Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:3000", "file://", "https://127.0.0.1.evil.example", "x", ""],
)
def test_foreign_origins_are_refused(client: Client, engine: FakeEngine, origin: str) -> None:
    headers = {"Host": "localhost:8080", "Origin": origin}
    for method in ("POST", "OPTIONS"):
        answer = client.open("/v1/chat/completions", method=method, headers=headers)
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert not engine.requests


def test_own_origin(client: Client) -> None:
    headers = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
    answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_allowed_origin(make_client: MakeClient) -> None:
    client = make_client(allow_origins=("https://app.example",), api_keys=("k",))
    headers = {"Host": "localhost:8080", "Origin": "https://app.example"}
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = client.options("/v1/chat/completions", headers={**headers, **wanted})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert answer.headers["Vary"] == "Origin"
    assert client.get("/v1/models", headers={**headers, "Origin": "https://other.example"}).status_code == 403
    # The site's own name is good too: a proxy in front of the server passes it on.
    assert client.get("/health", headers={"Host": "app.example"}).status_code == 200


def test_all_origins(make_client: MakeClient) -> None:
    headers = {"Host": "any.example", "Origin": "http://evil.example"}
    assert (
        make_client(allow_origins=("*",)).get("/health", headers=headers).headers["Access-Control-Allow-Origin"] == "*"
    )
    answer = make_client(allow_origins=("*",), cors_credentials=True).get("/health", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://evil.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


def test_local_origins(make_client: MakeClient) -> None:
    client = make_client(allow_origins=("localhost",))
    good = client.get("/health", headers={"Host": "localhost:1", "Origin": "http://127.0.0.1:3000"})
    assert good.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:3000"
    assert client.get("/health", headers={"Host": "localhost:1", "Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timeout": 0}, "--timeout"),
        ({"threads": 5000}, "--threads-http"),
        ({"api_prefix": "llm"}, "--api-prefix"),
        ({"api_prefix": "/llm/"}, "--api-prefix"),
        ({"api_keys": ("",)}, "API key"),
        ({"api_keys": ("a\nb",)}, "API key"),
        ({"allow_origins": ("example.org",)}, "--allow-origin"),
        ({"allow_origins": ("https://example.org/path",)}, "--allow-origin"),
        ({"hosts": ()}, "--host"),
        ({"ssl_cert_file": Path("c.pem")}, "--ssl-key-file"),
        ({"static_folder": Path("/nowhere")}, "--path"),
        ({"max_body": 0}, "body limit"),
    ],
)
def test_settings_are_checked(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        ServerSettings(**given)  # type: ignore[arg-type]
    assert str(caught.value).endswith(".")


def test_loopback() -> None:
    assert ServerSettings(hosts=("127.0.0.1", "::1", "localhost", "/run/a.sock")).loopback
    assert not ServerSettings(hosts=("127.0.0.1", "0.0.0.0")).loopback
    assert not ServerSettings(hosts=("127.0.0.1.evil.example",)).loopback
