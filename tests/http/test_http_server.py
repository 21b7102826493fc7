"""The real server over sockets: streaming, clients that go away, stopping."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script, wait_until
from http_support import PIECES, MakeServer
from solofile.runtime.ports import bind_socket
from solofile.runtime.serve import Server

CHAT = "/v1/chat/completions"


def connect(server: Server) -> http.client.HTTPConnection:
    """To be used with `closing`, as Python warns of connections left open."""
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)


def post(server: Server, path: str = CHAT) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    sock.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    return sock


def exchange(server: Server, data: bytes) -> bytes:
    """What the server answers to raw bytes until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_chunks_come_as_they_are_made(server: Server) -> None:
    with closing(connect(server)) as connection:
        connection.request("POST", CHAT, b"{}")
        answer = connection.getresponse()
        seen = []
        while chunk := answer.read1():
            seen.append((time.monotonic(), chunk))
    assert len(seen) == len(PIECES) + 1
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(seen)]
    assert min(gaps) > 0.01
    assert answer.getheader("Transfer-Encoding") == "chunked"


def test_one_connection_serves_many(server: Server) -> None:
    with closing(connect(server)) as connection:
        for _ in range(3):
            connection.request("POST", "/completion", b"{}")
            answer = connection.getresponse()
            assert json.loads(answer.read())["choices"][0]["message"]["content"] == "Paris"
            local = connection.sock.getsockname()
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        assert connection.sock.getsockname() == local


@pytest.mark.parametrize(
    "script", [Script.sse(["x"], delay=60), Script.sse(["x"], think=60), Script.chat("x", think=60)]
)
def test_a_client_that_goes_in_silence_cancels(server: Server, engine: FakeEngine, script: Script) -> None:
    engine.on("POST", CHAT, script)
    sock = post(server)
    assert wait_until(lambda: bool(engine.calls))
    time.sleep(0.05)
    assert not engine.cancelled
    gone = time.monotonic()
    sock.close()
    assert wait_until(lambda: bool(engine.cancelled))
    assert (engine.cancelled[0].cancelled_at or 0) - gone < 0.3


def test_a_client_that_goes_while_chunks_come_cancels(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["x" * 1000], delay=0.001, repeat=True))
    sock = post(server)
    sock.recv(100)
    sock.close()
    assert wait_until(lambda: bool(engine.cancelled), 2)
    call = engine.calls[0]
    assert wait_until(lambda: call.response is not None and call.response.closed, 2)


def test_a_client_that_waits_is_not_cancelled(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", "/completion", Script.chat("late", think=0.6))
    with closing(connect(server)) as connection:
        connection.request("POST", "/completion", b"{}")
        assert b"late" in connection.getresponse().read()
    assert not engine.cancelled


def test_a_pipelined_request_is_not_taken_for_the_end(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", "/completion", Script.chat("late", think=0.4))
    first = b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    answer = exchange(server, first + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"late" in answer and answer.endswith(b'{"status":"ok"}')
    assert not engine.cancelled


def test_twenty_streams_at_once(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["a"] * 10, delay=0.05))
    results: list[int] = []

    def stream() -> None:
        with closing(connect(server)) as connection:
            connection.request("POST", CHAT, b"{}")
            results.append(connection.getresponse().read().count(b"data: "))

    threads = [threading.Thread(target=stream) for _ in range(20)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [11] * 20
    assert time.monotonic() - begun < 5  # one after the other they would take 10 s


def test_silent_clients_take_no_threads(server: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    before = threading.active_count()
    with closing(connect(server)) as connection:
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    assert threading.active_count() <= before + 2
    for sock in idle:
        sock.close()


def test_health_answers_beside_many_streams(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["a"], think=60))
    socks = [post(server) for _ in range(40)]
    assert wait_until(lambda: len(engine.calls) == 40)
    with closing(connect(server)) as connection:
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    for sock in socks:
        sock.close()
    assert wait_until(lambda: len(engine.cancelled) == 40)


@pytest.mark.parametrize("script", [Script.sse(["x"], delay=0.01, repeat=True), Script.chat("x", think=60)])
def test_stop_while_answering(make_server: MakeServer, engine: FakeEngine, script: Script) -> None:
    engine.on("POST", CHAT, script)
    server = make_server()
    socks = [post(server) for _ in range(5)]
    assert wait_until(lambda: len(engine.calls) == 5)
    begun = time.monotonic()
    server.stop(2.0)
    assert time.monotonic() - begun < 2
    assert len(engine.cancelled) == 5
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    for sock in socks:
        sock.close()


def test_stop_does_not_wait_for_a_client_that_does_not_read(make_server: MakeServer, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["x" * 100_000], repeat=True))
    server = make_server()
    sock = post(server)
    time.sleep(0.3)
    begun = time.monotonic()
    server.stop(1.0)
    assert time.monotonic() - begun < 2
    sock.close()


def test_an_answer_that_breaks_is_not_ended_as_if_whole(server: Server, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script([b"data: 1\n\n"] * 5, fields=[("Content-Type", "text/event-stream")], break_after=2))
    with closing(connect(server)) as connection:
        connection.request("POST", CHAT, b"{}")
        with closing(connection.getresponse()) as answer, pytest.raises(http.client.IncompleteRead):
            answer.read()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        (b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n", 400),
        (
            b"POST /completion HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /completion HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /completion HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 413),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    ],
)
def test_broken_requests_get_json(server: Server, engine: FakeEngine, data: bytes, status: int) -> None:
    head, _, body = exchange(server, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/json" in head
    assert json.loads(body)["error"]["code"] == status
    assert not engine.requests


def test_a_body_in_chunks(server: Server, engine: FakeEngine) -> None:
    body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in (b'{"a":"', b"1" * 70000, b'"}'))
    head = b"POST /completion HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert b" 200 " in exchange(server, head + body + b"0\r\nTrailer: x\r\n\r\n")
    assert engine.requests[0].body == b'{"a":"' + b"1" * 70000 + b'"}'


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_told_so(make_server: MakeServer, engine: FakeEngine, chunked: bool) -> None:
    server = make_server(max_body=1000)
    big = b"x" * 3_000_000
    if chunked:
        head, big = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(big), big)
    else:
        head = b"Content-Length: %d" % len(big)
    answer = exchange(server, b"POST /completion HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + big)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":413' in answer
    assert not engine.requests


def test_a_body_that_never_comes_whole(make_server: MakeServer, engine: FakeEngine) -> None:
    server = make_server(timeout=1)
    answer = exchange(server, b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{}")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
    assert not engine.requests


def test_expect_continue(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(
            b"POST /completion HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_old_clients(server: Server) -> None:
    answer = exchange(server, b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


def test_a_unix_socket(make_server: MakeServer, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    server = make_server(hosts=(str(path),))
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b'{"status":"ok"}' in sock.recv(1000)
    assert server.urls == [f"unix://{path}"]
    server.stop()
    assert not path.exists()


PROGRAM = """
import sys
from fake_engine import FakeEngine, Script
from solofile.runtime.ports import bind_socket
listener = bind_socket("127.0.0.1", 0)
assert not {"flask", "cheroot", "logging"} & set(sys.modules)
from solofile.runtime.app import create_app
from solofile.runtime.serve import open_server
from solofile.runtime.server_settings import About, ServerSettings
engine = FakeEngine()
engine.on("POST", "/completion", Script.sse(["x"], think=60))
settings = ServerSettings()
server = open_server(create_app(engine, settings, About("m")), settings, listeners=[listener])
print(server.port, flush=True)
try:
    server.serve()
except KeyboardInterrupt:
    server.stop()
    print("stopped", len(engine.cancelled), flush=True)
left_out = {"click", "jinja2", "werkzeug.test", "werkzeug.serving", "ssl", "more_itertools"}
print([name for name in left_out if hasattr(sys.modules.get(name), "__file__")])
"""


def test_ctrl_c_ends_a_program_that_answers() -> None:
    """In a process of its own, which also shows what is not imported."""
    import signal

    paths = [str(Path(__file__).parent.parent), *sys.path]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{PROGRAM}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.sendall(b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
        sock.close()
    assert time.monotonic() - begun < 2
    assert out.splitlines() == ["stopped 1", "[]"]
    assert process.returncode == 0


def test_early_clients_wait(engine: FakeEngine) -> None:
    """The port is taken before the server is there: who comes in between is answered, not refused."""
    from solofile.runtime.app import create_app
    from solofile.runtime.serve import open_server
    from solofile.runtime.server_settings import About, ServerSettings

    listener = bind_socket("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as early:
        early.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        settings = ServerSettings()
        server = open_server(create_app(engine, settings, About("m")), settings, listeners=[listener])
        server.start()
        assert b'{"status":"ok"}' in early.recv(1000)
        server.stop()
