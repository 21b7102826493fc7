"""The port that is taken again, and the copy that a second start finds: the file, and what is asked of a copy."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.runtime import instance
from solofile.runtime.control import proof
from solofile.runtime.instance import Place, Record
from solofile.runtime.ports import bind_socket, close_all
from solofile.runtime.server_settings import ServerSettings

SETTINGS = ServerSettings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return instance.file_path(tmp_path, "ab" * 32)


@pytest.fixture
def opened() -> Iterator[list[Place]]:
    places: list[Place] = []
    yield places
    for place in places:
        close_all(place.listeners)


def nobody(_running: Record, _challenge: str) -> str | None:
    raise ConnectionRefusedError


def honest(running: Record, challenge: str) -> str:
    return proof(running["secret"], challenge)


def other(_running: Record, _challenge: str) -> str:
    return "0" * 64


def take(path: Path, opened: list[Place], *words: str, ask: instance.Ask = nobody) -> Place:
    place = instance.take(path, SETTINGS, words, ask=ask)
    opened.append(place)
    return place


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_port_of_last_time_is_taken_again(path: Path, opened: list[Place]) -> None:
    port = free_port()
    path.parent.mkdir(mode=0o700)
    instance.write(path, {"port": port})
    first = take(path, opened)
    assert (first.listeners[0].port, first.moved, first.note, first.running) == (port, None, "", "")
    close_all(first.listeners)
    instance.release(path, first.secret)
    assert instance.read(path) == {"port": port}
    assert take(path, opened).listeners[0].port == port


def test_the_first_time_the_bundle_may_say_where(path: Path, opened: list[Place]) -> None:
    port = free_port()
    opened.append(instance.take(path, SETTINGS, (), first=port, ask=nobody))
    assert opened[0].listeners[0].port == port


def test_the_file_is_this_users_alone(path: Path, opened: list[Place]) -> None:
    place = take(path, opened)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    running = instance.read(path)["running"]
    close_all(place.listeners)
    opened.append(instance.take(path, SETTINGS, ("--api-key", "sesame"), ask=nobody))
    assert "sesame" not in path.read_text()
    assert (running["process"], running["secret"]) == (os.getpid(), place.secret)
    assert running["url"] == f"http://127.0.0.1:{place.listeners[0].port}/"
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".tmp")] == []


def test_a_port_that_another_program_has(path: Path, opened: list[Place]) -> None:
    with bind_socket("127.0.0.1", 0).socket as taken:
        port = taken.getsockname()[1]
        path.parent.mkdir(mode=0o700)
        instance.write(path, {"port": port})
        place = take(path, opened)
        got = place.listeners[0].port
        assert got != port
        assert place.moved == {
            "wanted": port, "got": got, "reason": f"Port {port} is taken by another program.",
        }  # fmt: skip
    close_all(place.listeners)
    assert take(path, opened).listeners[0].port == port, "the conversations are there: it is wanted again"


def test_a_second_start_finds_the_first(path: Path, opened: list[Place]) -> None:
    first = take(path, opened)
    second = take(path, opened, ask=honest)
    assert (second.running, second.listeners) == (first.listeners[0].url(), [])


def test_other_words_are_another_start(path: Path, opened: list[Place]) -> None:
    first = take(path, opened)
    port = first.listeners[0].port
    second = take(path, opened, "-c", "512", ask=honest)
    assert second.running == ""
    assert second.moved is not None
    assert second.moved["reason"] == f"Port {port} is taken by another copy of this bundle."
    assert take(path, opened, ask=honest).running == first.listeners[0].url(), "the first one is still found"
    instance.release(path, second.secret)
    assert instance.read(path)["running"]["secret"] == first.secret


@pytest.mark.parametrize("ask", [nobody, other])
def test_what_does_not_prove_itself_is_not_the_bundle(path: Path, opened: list[Place], ask: instance.Ask) -> None:
    first = take(path, opened)
    close_all(first.listeners)
    second = take(path, opened, ask=ask)
    assert second.running == ""
    assert instance.read(path)["running"]["secret"] == second.secret != first.secret


def test_a_copy_that_starts_is_found_by_its_process(path: Path, opened: list[Place]) -> None:
    def silent(_running: Record, _challenge: str) -> str | None:
        raise TimeoutError

    first = take(path, opened)
    assert take(path, opened, ask=silent).running == first.listeners[0].url()
    record = instance.read(path)
    record["running"]["process"] = 2**22 + 1  # above the largest number of a process
    instance.write(path, record)
    assert take(path, opened, ask=silent).running == ""


def test_two_starts_at_once_end_in_one(path: Path, opened: list[Place]) -> None:
    found: list[Place] = []
    threads = [threading.Thread(target=lambda: found.append(take(path, opened, ask=honest))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 6
    assert [bool(place.listeners) for place in found].count(True) == 1
    assert len({place.running or place.listeners[0].url() for place in found}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"format": 2, "port": 8080}', '{"format": 1, "port": "8080"}',
        '{"format": 1, "port": 0}', '{"format": 1, "port": true}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_used_counts_as_nothing(path: Path, opened: list[Place], text: str) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    assert instance.read(path) == {}
    assert take(path, opened).listeners[0].port


@pytest.mark.parametrize("change", [{"url": "file:///etc/passwd"}, {"port": -1}, {"secret": ""}, {"words": ["x"]}])
def test_a_running_copy_that_is_not_as_it_was_written(path: Path, opened: list[Place], change: Record) -> None:
    take(path, opened)
    record = json.loads(path.read_text())
    record["running"] |= change
    path.write_text(json.dumps(record))
    assert "running" not in instance.read(path)


def test_a_link_in_its_place_is_not_followed(path: Path, opened: list[Place], tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text('{"format": 1, "port": 9}')
    path.symlink_to(victim)
    assert instance.read(path) == {}
    take(path, opened)
    assert victim.read_text() == '{"format": 1, "port": 9}'


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, opened: list[Place]) -> None:
    (tmp_path / "state").write_text("a file")
    place = take(instance.file_path(tmp_path, "ab" * 32), opened)
    assert place.listeners[0].port
    assert place.note.startswith("The port cannot be kept in ")


def test_files_of_bundles_that_are_gone_go(path: Path, opened: list[Place]) -> None:
    path.parent.mkdir(mode=0o700)
    for number in range(instance.KEPT_FILES + 5):
        old = path.with_name(f"page-{number:016x}.json")
        old.write_text("{}")
        os.utime(old, (number, number))
    take(path, opened)
    left = sorted(entry.name for entry in path.parent.glob("page-*.json"))
    assert len(left) == instance.KEPT_FILES
    assert path.name in left and "page-0000000000000000.json" not in left


def test_what_listens_there_is_asked_over_http() -> None:
    def serve(answer: bytes) -> tuple[int, threading.Thread]:
        server = socket.create_server(("127.0.0.1", 0))

        def work() -> None:
            with server:
                for _ in range(2):  # the first connection only looks whether somebody is there
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536) and connection.sendall(answer)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return server.getsockname()[1], thread

    def ask(answer: bytes) -> str | None:
        port, thread = serve(answer)
        running = {"host": "127.0.0.1", "port": port, "tls": False, "prefix": ""}
        try:
            return instance.asked(running, "challenge")
        finally:
            thread.join(5)

    assert ask(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"proof": "12"}') == "12"
    assert ask(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") is None
    assert ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]") is None
    assert ask(b"SSH-2.0-OpenSSH\r\n") is None
    with pytest.raises(ConnectionRefusedError):
        instance.asked({"host": "127.0.0.1", "port": free_port(), "tls": False, "prefix": ""}, "challenge")
