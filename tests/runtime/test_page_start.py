"""A start without options, as a double-click makes it: a whole process on a fake engine, and a fake desktop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, str(Path(__file__).with_name("fake_bundle.py"))]


class Copy:
    """One start of the bundle, and what it printed."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process, self._said = process, said
        self.shown = ""

    @property
    def said(self) -> str:
        return self._said.read_text()

    @property
    def port(self) -> int:
        """The port of the page, once it is printed."""
        assert self.process.stdout is not None
        while (found := re.search(r"http://127\.0\.0\.1:(\d+)/\n", self.shown)) is None:
            line = self.process.stdout.readline()
            assert line, self.said
            self.shown += line
        return int(found[1])

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(body) if body else None

    def ends(self, within: float = 10.0) -> int:
        return self.process.wait(within)


Start = Callable[..., Copy]


@pytest.fixture
def desktop(tmp_path: Path, environ: dict[str, str]) -> dict[str, str]:
    """A desktop whose browser writes down what it is to show."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "xdg-open"
    tool.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path / "opened"}\n')
    tool.chmod(0o755)
    return {**environ, "DISPLAY": ":99", "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[int], list[str]]:
    def opened(count: int) -> list[str]:
        """What the browser was given, once it is so much."""
        file, end = tmp_path / "opened", time.monotonic() + (5 if count else 0.3)
        while time.monotonic() < end:
            if file.exists() and file.read_text().count("\n") >= count:
                break
            time.sleep(0.02)
        return file.read_text().splitlines() if file.exists() else []

    return opened


@pytest.fixture
def start(tmp_path: Path, desktop: dict[str, str]) -> Iterator[Start]:
    copies: list[Copy] = []

    def start(scene: str, *words: str, **changes: str) -> Copy:
        world = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **desktop, **changes}
        said = tmp_path / f"said-{len(copies)}"
        with said.open("w") as errors:
            process = subprocess.Popen(
                [*PROGRAM, scene, *words], env=world, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                text=True,
            )  # fmt: skip
        copies.append(Copy(process, said))
        return copies[-1]

    yield start
    for copy in copies:
        with copy.process:
            copy.process.kill()


class Page:
    """An open page."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(b"GET /solofile/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.text = b""
        while b"event: state" not in self.text:
            part = self.socket.recv(65536)
            assert part, self.text
            self.text += part

    def close(self) -> bytes:
        """Close it, after reading what came."""
        self.socket.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while part := self.socket.recv(65536):
                self.text += part
        self.socket.close()
        return self.text


def test_opens_the_browser_and_prints_the_address(start: Start, opened: Callable[[int], list[str]]) -> None:
    copy = start("plain")
    url = f"http://127.0.0.1:{copy.port}/"
    assert copy.shown == f"Tiny Model is at {url}\n"
    assert opened(1) == [url]
    found = copy.ask("GET", "/solofile/about")[1]
    assert found["can_quit"] is True
    assert (found["idle_exit"], found["port"], found["models"][0]["name"]) == (600, None, "tiny")
    assert re.fullmatch("[0-9a-f]{64}", found["digest"])
    assert not found["kernel"].startswith("Kernels")
    assert found["llama_cpp"] == {"version": "0.5.0", "commit": "0c1e570"}


def test_without_a_browser(start: Start, opened: Callable[[int], list[str]]) -> None:
    for words, changes in ((("--no-browser",), {}), ((), {"DISPLAY": ""})):
        copy = start("plain", *words, **changes)
        assert copy.ask("GET", "/solofile/about")[1]["idle_exit"] is None
        assert opened(0) == []
        copy.process.send_signal(signal.SIGTERM)
        assert copy.ends() == 0


def test_quit_of_the_page_ends_it(start: Start) -> None:
    copy = start("plain")
    page = Page(copy.port)
    assert copy.ask("POST", "/solofile/quit", Origin="https://evil.example")[0] == 403
    assert copy.ask("POST", "/solofile/quit", Origin=f"http://127.0.0.1:{copy.port}")[0] == 204
    assert copy.ends() == 0
    assert b'"stopping"' in page.close()
    assert copy.said.endswith("Ended from the page.\n")


def test_quit_while_loading(start: Start) -> None:
    copy = start("loading")
    assert copy.ask("POST", "/solofile/quit")[0] == 204
    assert copy.ends() == 0
    assert "Traceback" not in copy.said


def test_a_second_start_opens_the_first(start: Start, opened: Callable[[int], list[str]]) -> None:
    first = start("plain")
    url = f"http://127.0.0.1:{first.port}/"
    opened(1)
    second = start("plain")
    assert second.ends() == 0
    assert second.process.stdout is not None
    assert second.process.stdout.read() == f"Tiny Model runs already, at {url}\n"
    assert opened(2) == [url, url]
    assert first.process.poll() is None


def test_two_starts_at_once_end_in_one(start: Start, opened: Callable[[int], list[str]]) -> None:
    copies = [start("plain") for _ in range(3)]
    [url] = {f"http://127.0.0.1:{copy.port}/" for copy in copies}
    assert opened(3) == [url] * 3
    end = time.monotonic() + 10
    while sum(copy.process.poll() is None for copy in copies) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert sorted(copy.process.poll() for copy in copies if copy.process.poll() is not None) == [0, 0]


def test_a_start_while_the_first_still_loads(start: Start) -> None:
    first = start("loading")
    port = first.port
    assert start("plain").ends() == 0
    first.process.send_signal(signal.SIGINT)
    assert first.ends() == 130
    assert start("plain").port == port


@pytest.mark.parametrize("words", [("--server",), ("-c", "256"), ("--port", "0")])
def test_what_is_no_double_click_is_a_copy_of_its_own(start: Start, words: tuple[str, ...]) -> None:
    first = start("plain")
    assert start("plain", *words).port != first.port


def test_a_killed_copy_is_not_found_and_its_port_is_taken_again(start: Start) -> None:
    first = start("plain")
    port = first.port
    first.process.kill()
    first.ends()
    second = start("plain")
    assert second.port == port
    assert "taken" not in second.said


def test_the_port_is_remembered_and_a_move_is_told(start: Start, environ: dict[str, str]) -> None:
    first = start("plain")
    port = first.port
    first.process.send_signal(signal.SIGTERM)
    first.ends()
    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        moved = start("plain")
        got = moved.port
        assert got != port
        told = moved.ask("GET", "/solofile/about")[1]["port"]
        assert told == {"wanted": port, "got": got, "reason": f"Port {port} is taken by another program."}
        assert f"Port {port} is taken by another program. The page is at port {got} this time" in moved.said
        moved.process.send_signal(signal.SIGTERM)
        moved.ends()
    again = start("plain")
    assert again.port == port
    [file] = (Path(environ["SOLOFILE_CACHE_DIR"]) / "state").glob("page-*.json")
    assert json.loads(file.read_text())["port"] == port


def test_a_port_that_is_given_wins_and_is_not_remembered(start: Start, environ: dict[str, str]) -> None:
    copy = start("plain", "--port", "0")
    assert copy.ask("GET", "/solofile/instance?challenge=x")[0] == 404
    assert not list((Path(environ["SOLOFILE_CACHE_DIR"])).glob("state/page-*"))


def test_ends_by_itself_after_the_last_page(start: Start) -> None:
    copy = start("plain", "--idle-exit", "0.02")
    page = Page(copy.port)
    time.sleep(1.8)
    assert copy.process.poll() is None
    page.close()
    assert copy.ends(6) == 0
    assert "Nobody has the page open, so the program ends; --idle-exit sets after how long." in copy.said


def test_never_ends_by_itself_where_that_is_wished(start: Start) -> None:
    copy = start("plain", "--idle-exit", "0")
    assert copy.ask("GET", "/solofile/about")[1]["idle_exit"] is None


def test_a_model_that_cannot_be_loaded_is_told_by_the_page(start: Start) -> None:
    sentence = "The model could not be loaded (the file ends early): --verbose shows llama.cpp's log."
    copy = start("broken")
    found = copy.ask("GET", "/solofile/status")[1]
    assert (found["phase"], found["message"], found["name"]) == ("failed", sentence, "Tiny Model")
    assert copy.ask("GET", "/v1/models")[0] == 503
    assert copy.ask("GET", "/solofile/about")[0] == 200
    assert copy.ask("POST", "/solofile/quit")[0] == 204
    assert copy.ends() == 1
    assert copy.said.count(sentence) == 1


def test_what_refuses_to_start_is_told_by_the_page(start: Start, opened: Callable[[int], list[str]]) -> None:
    sentence = "tiny needs 9 GB of memory, and 4 GB are free: close other programs."
    copy = start("refused")
    found = copy.ask("GET", "/solofile/status")[1]
    assert (found["phase"], found["message"]) == ("failed", sentence)
    assert len(opened(1)) == 1
    assert copy.ask("POST", "/solofile/quit")[0] == 204
    assert copy.ends() == 2
    assert copy.said.count(sentence) == 1


@pytest.mark.parametrize(("scene", "code"), [("broken", 1), ("refused", 2)])
@pytest.mark.parametrize(("words", "changes"), [(("--server",), {}), ((), {"DISPLAY": ""})])
def test_where_nobody_sees_a_page_a_failure_ends_it(
    start: Start, scene: str, code: int, words: tuple[str, ...], changes: dict[str, str]
) -> None:
    assert start(scene, *words, **changes).ends() == code


def test_a_server_keeps_no_port_and_cannot_be_quit(start: Start, environ: dict[str, str]) -> None:
    copy = start("plain", "--server")
    assert copy.ask("POST", "/solofile/quit")[0] == 403
    found = copy.ask("GET", "/solofile/about")[1]
    assert (found["can_quit"], found["idle_exit"], found["port"]) == (False, None, None)
    assert not list((Path(environ["SOLOFILE_CACHE_DIR"])).glob("state/page-*"))
