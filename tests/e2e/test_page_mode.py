"""The real bundle as a double-click starts it."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pdfs import pdf
from running import Desktop, Running, wait_healthy

pytestmark = pytest.mark.e2e

Start = Callable[..., Running]


@pytest.fixture
def desktop(smollm2_bundle: Path, tmp_path: Path) -> Iterator[Desktop]:
    made = Desktop(tmp_path, smollm2_bundle)
    yield made
    made.clear()


@pytest.fixture
def start(desktop: Desktop) -> Start:
    return desktop.start


def page(running: Running) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    opened.sendall(b"GET /solofile/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = b""
    while b"event: state" not in text:
        part = opened.recv(65536)
        assert part, text
        text += part
    return opened


def test_a_page_is_opened_found_again_and_ended(start: Start, desktop: Desktop) -> None:
    first = start()
    wait_healthy(first)
    second = start()
    assert (second.process.wait(10), second.port) == (0, first.port)
    url = f"{first.url}/"
    assert desktop.opened == [url, url]
    about = first.json("GET", "/solofile/about")
    assert about["models"][0]["architecture"] == "llama"
    assert about["defaults"]["top_p"] == 0.95
    assert (about["context"], about["can_quit"], about["idle_exit"]) == (8192, True, 600)
    assert " on " in about["kernel"] and "Kernels" not in about["kernel"] and "core" in about["hardware"]
    assert first.request("POST", "/solofile/quit", Origin="https://evil.example")[0] == 403
    assert first.request("POST", "/solofile/quit", Origin=first.url)[0] == 204
    assert first.process.wait(10) == 0
    third = start("--no-browser")
    assert third.port == first.port, "conversations are kept by address"


def test_open_pages_cost_the_api_nothing(start: Start) -> None:
    running = start()
    wait_healthy(running)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(page(running))
        threads = len(list(Path(f"/proc/{running.model_pid()}/task").iterdir()))
        answer = running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 3})
        assert answer["content"]
        assert threads < 50


def test_text_of_a_pdf(start: Start) -> None:
    """The library for it was frozen with the runtime, and the child process is the runtime itself."""
    import http.client

    running = start()
    wait_healthy(running)
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)

    def send(data: bytes) -> tuple[int, dict[str, object]]:
        form = {"Content-Type": "multipart/form-data; boundary=X"}
        connection.request("POST", "/solofile/extract", head + data + b"\r\n--X--\r\n", form)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    status, found = send(pdf("Hello from a PDF", "Second page"))
    assert (status, found["text"], found["pages"]) == (200, "Hello from a PDF\n\nSecond page", 2)
    assert found["tokens"] == len(running.json("POST", "/tokenize", {"content": found["text"]})["tokens"])
    assert send(b"%PDF-1.7 broken")[0] == 422
    connection.close()


def test_ends_by_itself(start: Start) -> None:
    running = start("--idle-exit", "0.02")
    wait_healthy(running)
    page(running).close()
    assert running.process.wait(15) == 0
    assert running.process.stderr is not None
    assert "Nobody has the page open" in running.process.stderr.read()
