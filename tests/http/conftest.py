"""A scripted engine, a client of the app, and the real server on a free port."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from fake_engine import FakeEngine, Script  # noqa: E402
from http_support import ABOUT, PIECES, MakeClient, MakeServer  # noqa: E402
from solofile.runtime.app import create_app  # noqa: E402
from solofile.runtime.serve import Server, open_server  # noqa: E402
from solofile.runtime.server_settings import ServerSettings  # noqa: E402
from werkzeug.test import Client  # noqa: E402


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine()
    made.on("POST", "/v1/chat/completions", Script.sse(PIECES, delay=0.05))
    made.on("POST", "/completion", Script.chat("Paris"))
    made.on("GET", "/v1/models", Script([b'{"object":"list","data":[]}']))
    return made


@pytest.fixture
def make_client(engine: FakeEngine) -> MakeClient:
    def make(**settings: object) -> Client:
        return Client(create_app(engine, ServerSettings(**settings), ABOUT))  # type: ignore[arg-type]

    return make


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client()


@pytest.fixture
def make_server(engine: FakeEngine) -> Iterator[MakeServer]:
    servers: list[Server] = []

    def make(**given: object) -> Server:
        settings = ServerSettings(**given)  # type: ignore[arg-type]
        server = open_server(create_app(engine, settings, ABOUT), settings, 0)
        server.start()
        servers.append(server)
        return server

    yield make
    engine.stop()
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    return make_server()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not there")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(key), "-out", str(cert), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", "req", *options, *files], check=True, capture_output=True)
    return cert, key
