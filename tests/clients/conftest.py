"""A bundle as a server for other people's clients, and what each of its examples printed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import serve

sys.path.insert(0, str(Path(__file__).parent))

from client_support import EXAMPLES, KEY, PEER, KeyedServer, Said, command_of


@pytest.fixture(scope="session")
def keyed_server(smollm2_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    """With one slot: who holds it keeps all others waiting."""
    environment = {**os.environ, "SOLOFILE_CACHE": str(tmp_path_factory.mktemp("cache")), "SOLOFILE_API_KEY": KEY}
    words = ["--server", "-np", "1", "--slots", "--metrics", "--embeddings", "--pooling", "mean"]
    command = [smollm2_bundle, *words, "--chat-template-file", EXAMPLES / "chatml-tools.jinja"]
    with serve(command, environment) as running:
        yield KeyedServer(running)


@pytest.fixture(scope="session", params=sorted(path.name for path in EXAMPLES.glob("with_*")))
def said(request: pytest.FixtureRequest, keyed_server: KeyedServer, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """Each example, run as its first line says."""
    home = tmp_path_factory.mktemp("home")
    trace = home / "trace"
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", str(trace)]
    traced = shutil.which("strace") is not None
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "SOLOFILE_API_KEY": KEY}
    before = keyed_server.predicted_tokens()
    with subprocess.Popen(
        [*(strace if traced else []), *command_of(request.param), keyed_server.running.url],
        env=environment, cwd=home, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what strace had started, too: it would keep the slot
            raise
    assert process.returncode == 0, output + errors
    printed = output.replace("\ndata: ", "\n")  # server-sent events, as curl shows them
    parts: dict[str, list[str]] = {}
    for name, text in re.findall(r"^(\w+): (.*?)(?=^\w+: |\Z)", printed, re.M | re.S):
        parts.setdefault(name, []).append(text.strip())
    peers = {(address, int(port)) for port, address in re.findall(PEER, trace.read_text())} if traced else set()
    return Said(parts, keyed_server.predicted_tokens() - before, peers, traced)
