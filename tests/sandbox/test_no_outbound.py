"""No mode of a bundle opens a connection, asks for a name or sends a packet, whatever it is asked for.

It is watched from outside, with the sandbox and without it: the program does not even try.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from network_calls import Traced, outbound, serving

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")]

REMOTE = "http://203.0.113.7/picture.png"  # an address of TEST-NET-3, which nobody has
NAMED = "https://pictures.example/one.png"
LOCAL = "file:///etc/passwd"

TERMINAL_MODES = (
    ["-p", f"Look at {REMOTE}", "-n", "4"], ["--chat", "-n", "4"], ["--bench", "--json"], ["--doctor", "--json"],
    ["--verify"], ["--licenses"], ["--version"], ["--help"], ["--cache-clear"],
)  # fmt: skip


@pytest.fixture
def traced(smollm2_bundle: Path, tmp_path: Path) -> Callable[..., Traced]:
    return lambda *words: Traced([str(smollm2_bundle), *words], tmp_path)


@pytest.mark.parametrize("words", TERMINAL_MODES, ids=lambda words: words[0])
def test_a_terminal_mode_uses_no_network(traced: Callable[..., Traced], words: list[str]) -> None:
    calls = traced(*words, "--no-sandbox").to_the_end("What is at http://203.0.113.7/?\n")
    assert outbound(calls) == []
    assert [call for call in calls if call.startswith("bind(")] == []


def test_extracting_uses_no_network(traced: Callable[..., Traced], tmp_path: Path) -> None:
    assert outbound(traced("--extract", str(tmp_path / "parts")).to_the_end("")) == []


@pytest.mark.parametrize("mode", [["--server"], ["--no-browser"]], ids=["server", "page"])
@pytest.mark.parametrize("sandbox", [[], ["--no-sandbox"]], ids=["sandbox", "none"])
def test_requests_for_what_is_elsewhere(traced: Callable[..., Traced], mode: list[str], sandbox: list[str]) -> None:
    with serving(traced(*mode, *sandbox)) as running:
        for path, body in requests():
            status, answer = running.request("POST", path, body)
            assert status >= 400, (path, status, answer)
            assert b"root:" not in answer
        assert running.request("POST", "/v1/chat/completions", chat("Hello"))[0] == 200
        calls = running.calls()
    assert outbound(calls) == []
    listening = [call for call in calls if call.startswith("bind(")]
    assert listening and all('inet_addr("127.0.0.1")' in call for call in listening)


def requests() -> list[tuple[str, dict[str, Any]]]:
    """What makes llama-server fetch something, in each of its dialects."""
    found: list[tuple[str, dict[str, Any]]] = []
    for url in (REMOTE, NAMED, LOCAL):
        image = {"type": "image_url", "image_url": {"url": url}}
        found.append(("/v1/chat/completions", chat([{"type": "text", "text": "What is this?"}, image])))
        sound = {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}
        found.append(("/v1/chat/completions", chat([sound])))
        part = {"type": "input_image", "image_url": url}
        found.append(("/v1/responses", {"input": [{"role": "user", "content": [part]}]}))
        source = {"type": "image", "source": {"type": "url", "url": url}}
        message = {"role": "user", "content": [source]}
        found.append(("/v1/messages", {"max_tokens": 4, "messages": [message]}))
        prompt = {"prompt_string": "<__media__>", "multimodal_data": [base64.b64encode(url.encode()).decode()]}
        found.append(("/completion", {"prompt": prompt, "n_predict": 4}))
    return found


def chat(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 4}


def test_what_counts_as_outbound() -> None:
    """The test of the test."""
    quiet = [
        'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        'connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file)',
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
        'sendto(5, "HTTP", 4, 0, NULL, 0) = 4',
    ]
    assert outbound(quiet) == []
    loud = [
        'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("203.0.113.7")}, 16) = -1 EPERM',
        'connect(3, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 0',
        "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
        "socket(AF_PACKET, SOCK_RAW, 768) = 3",
        'sendto(5, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 1',
    ]
    assert outbound(loud) == loud


def test_a_real_program_that_connects_is_caught(tmp_path: Path) -> None:
    script = "import socket; s = socket.socket(); s.settimeout(0.2); s.connect_ex(('203.0.113.7', 80))"
    calls = Traced(["python3", "-c", script], tmp_path).to_the_end("")
    assert [re.match(r"\w+", call)[0] for call in outbound(calls)] == ["connect"]  # type: ignore[index]
    assert subprocess.run(["strace", "-V"], capture_output=True, check=True).stdout
