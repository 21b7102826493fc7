"""Streams of open pages: what they tell, that they take no thread, and that they end with their page."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, wait_until
from http_support import ABOUT, MakeServer
from solofile.runtime.app import create_app
from solofile.runtime.control import Control
from solofile.runtime.serve import Server, open_server
from solofile.runtime.server_settings import ServerSettings

ASK = b"GET /solofile/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Page:
    """An open page."""

    def __init__(self, server: Server, ask: bytes = ASK) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self.socket.sendall(ask)
        self.text = b""

    def until(self, words: bytes, times: int = 1) -> bytes:
        """Read until ``words`` came so often."""
        while self.text.count(words) < times:
            part = self.socket.recv(65536)
            assert part, self.text
            self.text += part
        return self.text

    def states(self) -> list[str]:
        lines = [line for line in self.text.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line[6:])["phase"] for line in lines]

    def ended(self) -> bool:
        with contextlib.suppress(OSError):
            while part := self.socket.recv(65536):
                self.text += part
        return True


@pytest.fixture
def pages() -> Iterator[list[Page]]:
    opened: list[Page] = []
    yield opened
    for page in opened:
        page.socket.close()


def http_threads() -> int:
    return sum(thread.name in ("solofile-http", "solofile-streams") for thread in threading.enumerate())


def test_each_phase_is_told_once(engine: FakeEngine, server: Server, pages: list[Page]) -> None:
    engine.become("loading", 0.1)
    pages += [Page(server), Page(server)]
    for page in pages:
        head = page.until(b"event: state")
        assert b"Content-Type: text/event-stream" in head
        assert b"Cache-Control: no-store" in head
        assert b"retry: 2000\n" in page.until(b"retry")
    engine.become("ready")
    for page in pages:
        page.until(b'"ready"')
    time.sleep(0.6)
    engine.become("failed", 0.0, "it broke")
    server.streams.wake()
    for page in pages:
        page.until(b'"failed"')
        states = page.states()
        assert (states[0], states.count("ready"), states[-1]) == ("loading", 1, "failed")


def test_fifty_pages_take_no_thread_and_the_api_answers(server: Server, pages: list[Page]) -> None:
    for _ in range(50):
        pages.append(Page(server))
        pages[-1].until(b"event: state")
    assert wait_until(lambda: server.streams.count == 50)
    kept = server._servers[0].requests.min
    assert http_threads() <= kept + 1
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    begin = time.monotonic()
    for _ in range(20):
        connection.request("POST", "/completion", b"{}")
        answer = connection.getresponse()
        assert (answer.status, b"Paris" in answer.read()) == (200, True)
    assert time.monotonic() - begin < 2
    connection.close()
    assert server.watcher.open_calls == 0, "a page is no call that keeps the program from being idle"


def test_a_closed_page_is_counted_no_longer(server: Server, pages: list[Page]) -> None:
    pages += [Page(server), Page(server)]
    for page in pages:
        page.until(b"event: state")
    assert wait_until(lambda: server.streams.count == 2)
    pages[0].socket.close()
    assert wait_until(lambda: server.streams.count == 1, 1.0)
    pages[1].socket.shutdown(socket.SHUT_WR)
    assert wait_until(lambda: server.streams.count == 0, 1.0)


def test_a_page_that_talks_is_not_heard_and_costs_nothing(server: Server, pages: list[Page]) -> None:
    pages.append(Page(server))
    pages[0].until(b"event: state")
    assert wait_until(lambda: server.streams.count == 1)
    pages[0].socket.sendall(ASK * 50)
    time.sleep(0.1)
    begin = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begin < 0.1
    assert server.streams.count == 1


def test_comments_show_that_it_lives(server: Server, pages: list[Page]) -> None:
    server.streams._ping = 0.1
    pages.append(Page(server))
    pages[0].until(b": here\n\n", 3)


def test_an_idle_page_costs_nothing(server: Server, pages: list[Page]) -> None:
    pages += [Page(server) for _ in range(20)]
    for page in pages:
        page.until(b"event: state")
    time.sleep(0.5)
    begin = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - begin < 0.02


def test_the_end_of_the_server_is_told(engine: FakeEngine) -> None:
    control, settings = Control(can_quit=True), ServerSettings()
    server = open_server(create_app(engine, settings, ABOUT, control), settings, 0)
    control.on_end(server.streams.wake)
    server.start()
    page = Page(server)
    page.until(b"event: state")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("POST", "/solofile/quit")
    assert connection.getresponse().status == 204
    page.until(b'"stopping"')
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 1.5
    assert page.ended()
    assert page.text.endswith(b"0\r\n\r\n"), "a browser is told the end and not a broken connection"
    page.socket.close()
    connection.close()


def test_too_many_pages_are_told_so(server: Server, pages: list[Page]) -> None:
    server.streams._most = 2
    for _ in range(2):
        pages.append(Page(server))
        pages[-1].until(b"event: state")
    assert wait_until(lambda: server.streams.count == 2)
    pages.append(Page(server))
    assert b"HTTP/1.1 503" in pages[-1].until(b"Too many pages are open")


def test_who_does_not_read_is_let_go(server: Server, pages: list[Page]) -> None:
    pages.append(Page(server))
    pages[0].until(b"event: state")
    assert wait_until(lambda: server.streams.count == 1)
    server.streams._ping = 0.001
    news = b": " + b"x" * 500_000 + b"\n\n"

    class Flood:
        def now(self) -> bytes:
            return news

        def changes(self) -> tuple[bytes, bool]:
            return news, False

    server.streams.follow(Flood())
    server.streams.wake()
    assert wait_until(lambda: server.streams.count == 0, 10)


def test_an_old_client_gets_the_state_and_the_end(server: Server, pages: list[Page]) -> None:
    pages.append(Page(server, b"GET /solofile/events HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    assert pages[0].ended()
    assert pages[0].states() == ["ready"]
    assert server.streams.count == 0


def test_head_is_no_page(server: Server, pages: list[Page]) -> None:
    pages.append(Page(server, ASK.replace(b"GET", b"HEAD")))
    assert pages[0].ended()
    assert pages[0].text.startswith(b"HTTP/1.1 200") and pages[0].text.endswith(b"\r\n\r\n")
    assert server.streams.count == 0


def test_over_tls(make_server: MakeServer, engine: FakeEngine, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    server = make_server(ssl_cert_file=cert, ssl_key_file=key)
    context = ssl.create_default_context(cafile=cert)
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    page = Page.__new__(Page)
    page.text, page.socket = b"", context.wrap_socket(raw, server_hostname="localhost")
    page.socket.sendall(ASK)
    page.until(b"event: state")
    assert wait_until(lambda: server.streams.count == 1)
    engine.become("failed", 0.0, "it broke")
    server.streams.wake()
    page.until(b'"failed"')
    page.socket.close()
    assert wait_until(lambda: server.streams.count == 0, 2.0)
