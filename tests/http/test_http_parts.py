"""Ports, the watch on sockets, the door, TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Script, wait_until
from http_support import MakeServer
from solofile.runtime.door import Door
from solofile.runtime.errors import InputError
from solofile.runtime.ports import bind_socket, bind_sockets, close_all
from solofile.runtime.serve import Server, open_server
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.watch import Watcher, says_goodbye

# --- ports ---------------------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on, with a free one after it."""
    while True:
        with socket.socket() as sock, socket.socket() as after:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            try:
                after.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            after.close()
            sock.listen()
            yield port
            return


def test_a_taken_port_moves_on_and_says_so(taken: int) -> None:
    listener = bind_socket("127.0.0.1", taken, fixed=False)
    assert listener.port > taken
    assert str(taken) in listener.note and str(listener.port) in listener.note
    listener.socket.close()


def test_a_taken_port_that_was_asked_for_is_an_error(taken: int) -> None:
    with pytest.raises(InputError, match=rf"Port {taken} of 127.0.0.1 is taken: .* --port\.$"):
        bind_socket("127.0.0.1", taken, fixed=True)


def test_a_free_port_needs_no_note() -> None:
    listener = bind_socket("127.0.0.1", 0)
    assert listener.note == ""
    assert listener.url() == f"http://127.0.0.1:{listener.port}/"
    listener.socket.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "nowhere.invalid"])
def test_addresses_of_others(host: str) -> None:
    with pytest.raises(InputError, match="no address of this machine"):
        bind_socket(host, 0)


def test_several_hosts_share_a_port(taken: int) -> None:
    try:
        listeners = bind_sockets(("127.0.0.1", "127.0.0.2"), taken, fixed=False)
    except InputError:
        pytest.skip("there is no second loopback address")
    assert listeners[0].port == listeners[1].port > taken
    close_all(listeners)


def test_all_or_none(taken: int) -> None:
    with pytest.raises(InputError):
        bind_sockets(("127.0.0.2", "127.0.0.1"), taken, fixed=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", taken))


def test_urls() -> None:
    listener = bind_socket("0.0.0.0", 0)
    assert listener.url(tls=True, prefix="/llm") == f"https://127.0.0.1:{listener.port}/llm/"
    listener.socket.close()


def test_a_socket_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"a\.sock cannot be made"):
        bind_socket(str(path))
    assert path.read_text("utf-8") == "mine"


def test_a_stale_socket_is_replaced_and_a_live_one_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    bind_socket(path).socket.close()  # leaves its file behind
    live = bind_socket(path)
    with pytest.raises(InputError):
        bind_socket(path)
    live.socket.close()


# --- the watch -----------------------------------------------------------------------------------------------


def test_the_watch_tells_once_and_quickly() -> None:
    watcher = Watcher()
    ours, theirs = socket.socketpair()
    told: list[float] = []
    with watcher.watch(ours, lambda: told.append(time.monotonic())):
        time.sleep(0.25)
        assert not told
        theirs.sendall(b"next request")
        time.sleep(0.25)
        assert not told
        gone = time.monotonic()
        theirs.close()
        assert wait_until(lambda: bool(told), 1)
        assert told[0] - gone < 0.25
        time.sleep(0.25)
    assert len(told) == 1
    assert ours.recv(100) == b"next request"
    ours.close()


def test_the_watch_forgets() -> None:
    watcher = Watcher()
    ours, theirs = socket.socketpair()
    told: list[int] = []
    watcher.watch(ours, lambda: told.append(1)).close()
    theirs.close()
    time.sleep(0.3)
    assert not told
    ours.close()


def test_the_watch_holds_on_to_nothing() -> None:
    """What it told is not kept until it tells the next."""

    class Call:
        def __init__(self) -> None:
            self.told = threading.Event()

        def cancel(self) -> None:
            self.told.set()

    watcher = Watcher()
    ours, theirs = socket.socketpair()
    call = Call()
    known = weakref.ref(call)
    watcher.watch(ours, call.cancel)
    theirs.close()
    assert call.told.wait(2)
    del call
    assert wait_until(lambda: known() is None, 2)
    ours.close()


def test_a_callback_that_fails_does_not_end_the_watch() -> None:
    watcher = Watcher()
    told: list[int] = []
    pairs = [socket.socketpair() for _ in range(2)]

    def fail() -> None:
        raise RuntimeError

    watcher.watch(pairs[0][0], fail)
    pairs[0][1].close()
    time.sleep(0.3)
    watcher.watch(pairs[1][0], lambda: told.append(1))
    pairs[1][1].close()
    assert wait_until(lambda: bool(told), 1)
    for ours, _ in pairs:
        ours.close()


def test_after_the_end_everything_is_cancelled_at_once() -> None:
    watcher = Watcher()
    told: list[int] = []
    watcher.watch(None, lambda: told.append(1))
    watcher.cancel_all()
    watcher.watch(None, lambda: told.append(2))
    assert told == [1, 2]


def test_goodbye_of_tls() -> None:
    assert says_goodbye(b"\x17\x03\x03\x00\x13" + b"x" * 19)
    assert says_goodbye(b"\x15\x03\x03\x00\x1a" + b"x" * 26)
    assert not says_goodbye(b"\x17\x03\x03\x00\x60" + b"x" * 59)
    assert not says_goodbye(b"\x17\x03")


# --- the door ------------------------------------------------------------------------------------------------


def ask(app: Any, path: str) -> tuple[str, bytes]:
    seen: list[str] = []
    body = b"".join(app({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda status, _fields: seen.append(status)))
    return seen[0], body


def test_the_door_answers_health_before_the_app_is_there(engine: FakeEngine) -> None:
    ready = threading.Event()

    def real(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"real"]

    def make() -> Any:
        ready.wait(10)
        return real

    door = Door(engine.state, make, prefix="/llm")
    engine.become("loading")
    assert ask(door, "/llm/health")[0] == "503 Service Unavailable"
    engine.become("ready")
    assert ask(door, "/llm/v1/health") == ("200 OK", b'{"status":"ok"}')
    threading.Timer(0.1, ready.set).start()
    assert ask(door, "/health") == ("200 OK", b"real")  # waited for the app
    assert door.wait(1) is real
    assert ask(door, "/llm/health") == ("200 OK", b"real")


def test_the_door_tells_when_the_app_could_not_be_made(engine: FakeEngine) -> None:
    def make() -> Any:
        raise InputError("no")

    door = Door(engine.state, make)
    with pytest.raises(InputError):
        door.wait(5)
    assert ask(door, "/v1/models")[0] == "500 Internal Server Error"


# --- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_server(make_server: MakeServer, certificate: tuple[Path, Path]) -> Server:
    return make_server(ssl_cert_file=certificate[0], ssl_key_file=certificate[1])


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


def test_tls_streams(tls_server: Server, trusting: ssl.SSLContext) -> None:
    assert tls_server.urls[0].startswith("https://")
    with closing(http.client.HTTPSConnection("127.0.0.1", tls_server.port, context=trusting, timeout=10)) as connection:
        for _ in range(2):
            connection.request("POST", "/v1/chat/completions", b"{}")
            answer = connection.getresponse()
            times = []
            while answer.read1():
                times.append(time.monotonic())
            assert times[-1] - times[0] > 0.2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("goodbye", [False, True])
def test_a_tls_client_that_goes_cancels(
    tls_server: Server, trusting: ssl.SSLContext, engine: FakeEngine, version: ssl.TLSVersion, goodbye: bool
) -> None:
    engine.on("POST", "/completion", Script.chat("x", think=60))
    trusting.minimum_version = trusting.maximum_version = version
    plain = socket.create_connection(("127.0.0.1", tls_server.port), timeout=10)
    sock = trusting.wrap_socket(plain, server_hostname="localhost")
    sock.sendall(b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    assert wait_until(lambda: bool(engine.calls))
    time.sleep(0.3)
    assert not engine.cancelled
    if goodbye:  # says so inside TLS, and keeps the connection open
        sock.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()
    else:
        sock.close()
    assert wait_until(lambda: bool(engine.cancelled), 1)
    sock.close()


def test_idle_tls_clients_stop_nobody(tls_server: Server, trusting: ssl.SSLContext) -> None:
    idle = [socket.create_connection(("127.0.0.1", tls_server.port)) for _ in range(20)]
    with closing(http.client.HTTPSConnection("127.0.0.1", tls_server.port, context=trusting, timeout=5)) as connection:
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    for sock in idle:
        sock.close()


def test_plain_http_to_tls_is_told(tls_server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", tls_server.port, timeout=5)) as connection:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert answer.status == 400
        assert b"https" in answer.read()


def test_tls_files_that_do_not_fit(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    def app(_environ: Any, _start_response: Any) -> list[bytes]:
        return []

    empty = tmp_path / "empty.pem"
    empty.write_text("", "utf-8")
    locked = tmp_path / "locked.pem"
    encrypt = ["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", str(certificate[1]), "-out", str(locked)]
    subprocess.run(encrypt, check=True, capture_output=True)
    pairs = [
        (certificate[0], tmp_path / "absent.pem", "absent.pem cannot be read"),
        (certificate[0], empty, "empty.pem is empty"),
        (certificate[1], certificate[0], "no PEM certificate"),
        (certificate[0], locked, "unencrypted"),
    ]
    for cert, key, said in pairs:
        with pytest.raises(InputError, match=said):
            open_server(app, ServerSettings(ssl_cert_file=cert, ssl_key_file=key), 0)
