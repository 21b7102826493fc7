"""Two sides over real sockets of this machine: the channel, the front of a worker, what it bounds; no model."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from solofile.runtime import rpc_channel, rpc_client, rpc_handshake, rpc_pulse, rpc_worker
from solofile.runtime.errors import InputError, SolofileError
from solofile.runtime.ports import Listener
from solofile.runtime.rpc_handshake import COMPUTE, LOOK, PULSE, Device, Facts, key_of
from solofile.runtime.rpc_settings import Endpoint
from solofile.runtime.rpc_splice import splice

SECRET = "correct horse battery staple"
FACTS = Facts("0.1.0", "0c1e570", (Device("CPU", "cpu", 8 << 30),))
GROUP_BITS = 3072


class Server:
    """Stands for llama.cpp's server behind the front: sends back what it gets, in capitals."""

    def __init__(self, folder: Path, secret: str = SECRET, facts: Callable[[], Facts] = lambda: FACTS) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(*self.socket.getsockname()[:2])
        self.said: list[str] = []
        self.cleared = 0
        listener = Listener(self.socket, *self.endpoint)
        context = rpc_channel.context(folder)
        self.front = rpc_worker.Front([listener], key_of(secret), context, facts, self._between, self.said.append)
        threading.Thread(target=self._run, daemon=True).start()
        self.front.start()

    def _between(self) -> None:
        self.cleared += 1

    def _run(self) -> None:
        while True:
            with socket.socket(fileno=self.front.accept()) as client:
                while data := client.recv(1 << 16):
                    client.sendall(data.upper())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.socket.close()


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    return rpc_channel.context()


def workers(server: Server, secret: str = SECRET, commit: str = FACTS.commit) -> rpc_client.Workers:
    return rpc_client.find((server.endpoint,), secret, commit)


def opened(found: rpc_client.Workers, server: Server) -> socket.socket:
    number = found.connect(server.endpoint.host, server.endpoint.port)
    assert number >= 0
    return socket.socket(fileno=number)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_bytes_go_through_both_ways_and_the_facts_before_them(server: Server) -> None:
    found = workers(server)
    assert found.facts == {server.endpoint: FACTS}
    assert found.devices == ("RPC0",)
    data = os.urandom(1 << 20).hex().encode()
    with opened(found, server) as sock:
        threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
        got = b""
        while len(got) < len(data):
            got += sock.recv(1 << 16)
    assert got == data.upper()


class Relay:
    """Stands between two machines as the network does: keeps what it passes on, and can be cut."""

    def __init__(self, onward: Endpoint) -> None:
        self.seen = bytearray()
        self._onward = onward
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(*self._listener.getsockname()[:2])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pair = (client, socket.create_connection(self._onward))
            self._open += pair
            for two in (pair, pair[::-1]):
                self._threads.append(threading.Thread(target=self._pass_on, args=two))
                self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self.seen.extend(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def cut(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    made = Relay(server.endpoint)
    yield made
    try:
        made.cut()
    except OSError:
        return  # it was cut


def test_what_goes_over_the_wire_is_none_of_it(relay: Relay) -> None:
    found = rpc_client.find((relay.endpoint,), SECRET, FACTS.commit)
    with socket.socket(fileno=found.connect(*relay.endpoint)) as sock:
        sock.sendall(b"what the user asked")
        assert sock.recv(100) == b"WHAT THE USER ASKED"
    relay.cut()
    assert len(relay.seen) > 2000
    for text in (SECRET.encode(), b"what the user", b"WHAT THE USER", b"solofile", FACTS.commit.encode()):
        assert text not in relay.seen


def test_somebody_in_the_middle_is_refused(server: Server, tmp_path: Path, context: ssl.SSLContext) -> None:
    """One that speaks the protocol to each side and passes on, within it, all that the other says."""
    middle = socket.create_server(("127.0.0.1", 0))
    end = time.monotonic() + 10

    def pass_on() -> None:
        client, _ = middle.accept()
        onward = rpc_channel.secured(socket.create_connection(server.endpoint), context, server=False, deadline=end)
        inward = rpc_channel.secured(client, rpc_channel.context(tmp_path), server=True, deadline=end)
        with contextlib.closing(onward), contextlib.closing(inward):
            onward.write(inward.read(rpc_handshake.HELLO, end), end)
            inward.write(onward.read(rpc_handshake.CHALLENGE, end), end)
            onward.write(inward.read(rpc_handshake.PROOF, end), end)
            inward.write(onward.read(rpc_handshake.VERDICT, end), end)

    threading.Thread(target=pass_on, daemon=True).start()
    with middle, pytest.raises(InputError, match="has another secret"):
        rpc_client.call(Endpoint(*middle.getsockname()[:2]), key_of(SECRET), COMPUTE, context)
    until(lambda: "127.0.0.1 has another secret and was refused." in server.said)


def test_another_secret_and_none_are_refused_in_a_sentence(server: Server) -> None:
    with pytest.raises(InputError, match=rf"^The worker {server.endpoint} has another secret: give both .*\.$"):
        workers(server, "a secret of other letters")
    with pytest.raises(InputError, match="asks for a secret"):
        workers(server, "")


def test_another_llama_cpp_is_refused_in_a_sentence(server: Server) -> None:
    with pytest.raises(InputError, match=r"runs llama\.cpp 0c1e570 \(solofile 0\.1\.0\) and this bundle abcdef1"):
        workers(server, commit="abcdef1234")


def test_nobody_there_and_somebody_else_there_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        there = Endpoint(*web.getsockname()[:2])

        def answer() -> None:
            client, _ = web.accept()
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(InputError, match="is no worker of a bundle"):
            rpc_client.find((there,), SECRET, "c")
    with pytest.raises(InputError, match=rf"The worker {there} cannot be reached \(Connection refused\)"):
        rpc_client.find((there,), SECRET, "c")


def test_one_machine_computes_at_a_time_and_others_may_ask(
    server: Server, monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext
) -> None:
    monkeypatch.setattr(rpc_channel, "PATIENCE", 1.0)
    first = workers(server)
    with opened(first, server) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"A"
        channel, facts = rpc_client.call(server.endpoint, key_of(SECRET), LOOK, context)
        channel.close()
        assert facts.busy
        with pytest.raises(InputError, match="computes for another machine"):
            workers(server)
        channel, facts = rpc_client.call(server.endpoint, key_of(SECRET), COMPUTE, context)
        channel.close()
        assert facts.busy
    with opened(workers(server), server) as sock:
        sock.sendall(b"b")
        assert sock.recv(1) == b"B"
    assert server.cleared >= 2


def test_a_worker_that_goes_is_told_of_and_llama_cpp_is_left_waiting(relay: Relay) -> None:
    found = rpc_client.find((relay.endpoint,), SECRET, FACTS.commit)
    told: list[tuple[Endpoint, str]] = []
    with socket.socket(fileno=found.connect(*relay.endpoint)) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"A"
        relay.cut()
        found.when_lost(lambda one, how: told.append((one, how)))
        until(lambda: told)
        assert told == [(relay.endpoint, f"The worker {relay.endpoint} is gone.")]
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    found.when_lost(lambda one, how: told.append((one, how)))
    assert len(told) == 2, "who asks later is told, too"
    found._held.pop().close()


def test_an_end_by_llama_cpp_itself_is_no_loss(server: Server) -> None:
    found = workers(server)
    told: list[str] = []
    found.when_lost(lambda _, how: told.append(how))
    opened(found, server).close()
    until(lambda: "127.0.0.1 has gone." in server.said)
    time.sleep(0.2)
    assert not told


def test_who_says_nothing_or_little_is_dropped_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_channel, "PATIENCE", 0.5)
    begin = time.monotonic()
    silent = socket.create_connection(server.endpoint)
    slow = socket.create_connection(server.endpoint)
    with silent, slow:
        for byte in b"\x16\x03\x01\x02":
            slow.sendall(bytes((byte,)))
            time.sleep(0.2)
        silent.settimeout(5)
        slow.settimeout(5)
        assert silent.recv(100) == b""
        _drained(slow)
    assert time.monotonic() - begin < 3


def _drained(sock: socket.socket) -> None:
    try:
        while sock.recv(100):
            pass
    except ConnectionResetError:
        pass


def test_a_slow_handshake_inside_the_channel_is_dropped_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext
) -> None:
    monkeypatch.setattr(rpc_channel, "PATIENCE", 0.6)
    end = time.monotonic() + 30
    channel = rpc_channel.secured(socket.create_connection(server.endpoint), context, server=False, deadline=end)
    begin = time.monotonic()
    with contextlib.closing(channel), pytest.raises(OSError):
        for byte in rpc_handshake.Main(key_of(SECRET), channel.binding, LOOK).hello():
            channel.write(bytes((byte,)), end)
            time.sleep(0.1)
        channel.read(1, end)
    assert time.monotonic() - begin < 3


def test_more_connections_than_there_is_room_for_are_closed(server: Server) -> None:
    many = [socket.create_connection(server.endpoint) for _ in range(rpc_worker.MOST + 4)]
    try:
        for one in many:
            one.settimeout(2)
        last = many[-1]
        assert last.recv(1) == b""
    finally:
        for one in many:
            one.close()
    until(lambda: _is_let_in(server))


def _is_let_in(server: Server) -> bool:
    try:
        return bool(workers(server).facts)
    except InputError:
        return False


def test_what_is_no_tls_is_closed_and_the_next_one_is_let_in(server: Server) -> None:
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x0e" + struct.pack("<Q", 24) + bytes(24), os.urandom(5000)):
        with socket.create_connection(server.endpoint) as sock:
            sock.sendall(junk)
            sock.settimeout(5)
            _drained(sock)
    assert workers(server).facts


def test_the_other_side_is_anonymous_encrypted_and_has_keys_of_its_own(server: Server, context: ssl.SSLContext) -> None:
    found = [rpc_client.call(server.endpoint, key_of(SECRET), LOOK, context)[0] for _ in range(2)]
    assert {one.socket.cipher() for one in found} == {("ADH-AES128-GCM-SHA256", "TLSv1.2", 128)}
    assert found[0].binding != found[1].binding
    for one in found:
        one.close()


def test_a_server_with_certificates_and_a_plain_client_do_not_meet_it(server: Server) -> None:
    plain = ssl.create_default_context()
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(server.endpoint) as sock, pytest.raises(OSError):
        plain.wrap_socket(sock)


def test_the_group_is_the_one_of_rfc_7919() -> None:
    """p = 2^3072 - 2^3008 + (floor(2^2942 * e) + 2625351) * 2^64 - 1, g = 2."""
    scale = 1 << (2942 + 64)
    e, term = 0, scale
    for number in range(1, 600):
        e += term
        term //= number
    p = 2**GROUP_BITS - 2 ** (GROUP_BITS - 64) + ((e >> 64) + 2625351) * 2**64 - 1
    der = ssl.PEM_cert_to_DER_cert(rpc_channel._GROUP.replace("DH PARAMETERS", "CERTIFICATE"))
    assert p.to_bytes(GROUP_BITS // 8, "big") in der
    assert der.endswith(b"\x02\x01\x02") or b"\x02\x01\x02" in der[-12:]


def test_the_file_of_a_moment_is_gone_and_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    rpc_channel.context(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(SolofileError, match="cannot be written to"):
        rpc_channel.context(tmp_path / "file" / "folder")


def test_a_splice_says_which_side_ended_it(tmp_path: Path, context: ssl.SSLContext) -> None:
    for local_ends in (True, False):
        near, far = _tls_pair(tmp_path, context)
        local, other = socket.socketpair()
        (other if local_ends else far).close()
        assert splice(local, near) is local_ends
        for one in (near, far, local, other):
            one.close()


def _tls_pair(folder: Path, context: ssl.SSLContext) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: list[ssl.SSLSocket] = []

        def accept() -> None:
            sock = listener.accept()[0]
            found.append(rpc_channel.context(folder).wrap_socket(sock, server_side=True))

        thread = threading.Thread(target=accept)
        thread.start()
        near = context.wrap_socket(socket.create_connection(listener.getsockname()))
        thread.join()
    return near, found[0]


def test_a_worker_that_lives_gives_a_sign(
    server: Server, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_pulse, "BEAT", 0.02)
    channel, _ = rpc_client.call(server.endpoint, key_of(SECRET), PULSE, context)
    ended, found = threading.Event(), list[str]()
    watching = threading.Thread(target=lambda: found.append(rpc_pulse.watch(channel, ended)))
    watching.start()
    watching.join(0.5)
    assert watching.is_alive()
    ended.set()
    watching.join(5)
    assert found == [""]


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (lambda channel: time.sleep(1) or channel.close(), "has given no sign of life for 0 seconds"),
        (lambda channel: channel.close(), "is gone"),
    ],
)
def test_one_that_hangs_is_lost(
    server: Server, monkeypatch: pytest.MonkeyPatch, answer: Callable[[rpc_channel.Channel], None], how: str
) -> None:
    """Though the connection over which it would be computed is there."""
    monkeypatch.setattr(rpc_pulse, "BEAT", 0.02)
    monkeypatch.setattr(rpc_pulse, "PATIENCE", 0.3)
    monkeypatch.setattr(rpc_pulse, "answer", answer)
    found = workers(server)
    told: list[tuple[Endpoint, str]] = []
    with opened(found, server) as local:
        found.when_lost(lambda endpoint, said: told.append((endpoint, said)))
        until(lambda: told)
        local.sendall(b"still here")
        assert local.recv(100) == b"STILL HERE"
    assert told == [(server.endpoint, f"The worker {server.endpoint} {how}.")]
