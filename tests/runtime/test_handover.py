"""A process that replaces itself with another model: the words, what is handed over, the real thing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from small_bundle import make_bundle, model
from solofile.runtime import handover
from solofile.runtime.boot import RESUME
from solofile.runtime.ports import Listener, bind_socket

pytestmark = pytest.mark.skipif(not handover.POSSIBLE, reason="this system replaces no process")


def test_words() -> None:
    words = ["--server", "-c", "99", "--use", "a", "--port=8081", "-m", "b"]
    assert handover.words_with(words, "new") == ["--server", "-c", "99", "--port", "8081", "--use", "new"]
    assert handover.words_with([], "new") == ["--use", "new"]


def test_what_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = bind_socket("127.0.0.1", 0)
    kept = Listener(listener.socket.dup(), listener.host, listener.port)
    world = {"A": "b", "SOLOFILE_CRASH": "SIGSEGV", "_PYI_X": "y", "SOLOFILE_BUNDLE": "x"}
    made = handover.environment(world, [kept], "secret", {"wanted": 1})
    assert {key: one for key, one in made.items() if key != RESUME} == {"A": "b", "SOLOFILE_BUNDLE": "x"}
    monkeypatch.setenv(RESUME, made[RESUME])
    found = handover.resumed(made)
    assert found is not None
    assert RESUME not in os.environ  # our children are not to take it for theirs
    assert (found.secret, found.moved) == ("secret", {"wanted": 1})
    (again,) = found.listeners
    assert (again.host, again.port) == (kept.host, kept.port)
    with socket.create_connection((again.host, again.port), timeout=5):
        again.socket.settimeout(5)
        again.socket.accept()[0].close()
    kept.socket.detach()
    again.socket.close()
    listener.socket.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", "no JSON", '{"process": 1, "sockets": []}'])
def test_what_is_not_ours_counts_for_nothing(text: str) -> None:
    assert handover.resumed({RESUME: text} if text else {}) is None
    text = json.dumps({"process": os.getpid(), "sockets": [[10_000, "127.0.0.1", 80]], "secret": "", "moved": None})
    assert handover.resumed({RESUME: text}) is None  # no such descriptor


def get(port: int, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, fields)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_whole_program(tmp_path: Path, environ: dict[str, str]) -> None:
    """The process, the port and the key stay, the model is another one.

    The first one runs on a fake engine. What takes its place is the real program, which finds no native libraries here:
    so it tells the page why, and lets it change the model once more.
    """
    path = make_bundle(tmp_path / "two", models=(model("one", size=9000), model("two")))
    environ.pop("SOLOFILE_NATIVE_DIR", None)
    world = {**os.environ, **environ, "SOLOFILE_BUNDLE": str(path), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, str(Path(__file__).with_name("fake_bundle.py")), "replaced"]
    key = {"Authorization": "Bearer k"}
    with subprocess.Popen(
        [*program, "--server", "--api-key", "k"], env=world, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2].strip("/\n"))
            assert get(port, "/solofile/about", **key)[1]["model"] == "one"
            own = {"Origin": f"http://127.0.0.1:{port}"}
            assert get(port, "/solofile/model", {"model": "two"}, **own)[0] == 401
            for name in ("two", "one"):
                assert get(port, "/solofile/model", {"model": name}, **own, **key) == (202, {"model": name})
                end = time.monotonic() + 20
                while (found := get(port, "/solofile/about", **key)[1])["model"] != name:
                    assert time.monotonic() < end
                    time.sleep(0.05)
                assert process.poll() is None
                assert found["can_switch"] is True
                assert get(port, "/solofile/about")[0] == 401  # the key still counts
                status = get(port, "/solofile/status")[1]
                assert (status["phase"], "SOLOFILE_NATIVE_DIR is not set" in status["message"]) == ("failed", True)
        finally:
            process.terminate()
        said = process.communicate(timeout=20)
    assert "Changing to the model two." in said[1]
    assert "Changing to the model one." in said[1]
    assert said[0] == ""  # the address is not printed a second time
    assert process.returncode == 2
