"""A server in its sandbox, which is on by default: who is confined, what the process outside is for, and its end."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import wait_until, works
from collector import Collector
from faults import children, threads
from running import Running, serve

sys.path[:0] = [str(Path(__file__).parents[1])]

from pdfs import pdf  # noqa: E402

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="of Linux' sandbox")]


def metric(running: Running, name: str) -> float:
    text = running.request("GET", "/metrics")[1].decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


def read_pdf(running: Running, text: str) -> tuple[int, bytes]:
    """What the page does with a file."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
    fields = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/solofile/extract", head + pdf(text) + b"\r\n--x--\r\n", fields)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("words", [["--server"], ["--no-browser"]], ids=["server", "page"])
def test_every_thread_is_confined(smollm2_bundle: Path, environment: dict[str, str], words: list[str]) -> None:
    with serve([smollm2_bundle, *words], environment) as running:
        works(running)
        model = running.model_pid()
        found = wait_until(lambda: all(one["Seccomp"] == "2" for one in threads(model)) and threads(model))
        assert len(found) > 4
        assert all(one == {"NoNewPrivs": "1", "Seccomp": "2"} for one in found)
        (outside,) = children(model)
        assert {one["Seccomp"] for one in threads(outside)} == {"0"}
    with serve([smollm2_bundle, *words, "--no-sandbox"], environment) as running:
        assert {one["Seccomp"] for one in threads(running.model_pid())} == {"0"}
        assert children(running.model_pid()) == []
    assert "Without the sandbox (--no-sandbox)" in running.errors


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        server.listen()
        yield server


def test_log_and_traces_come_from_within(
    smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path, collector: Collector
) -> None:
    """The log is moved away meanwhile, as logrotate does: the confined process could not make another one."""
    log = tmp_path / "access.log"
    with serve(
        [smollm2_bundle, "--server", "--access-log", log, "--otlp-endpoint", collector.url], environment
    ) as running:
        works(running)
        wait_until(lambda: '"/completion"' in log.read_text())
        log.rename(tmp_path / "older")
        works(running)
        wait_until(lambda: log.exists() and '"/completion"' in log.read_text())
        wait_until(lambda: collector.got)
        assert metric(running, "solofile_spans_dropped_total") == 0
        works(running)
    assert [span["name"] for span in collector.spans] == ["POST /completion"] * 3  # the last one came at the end
    assert log.read_text().count('"/completion"') == 2


def test_kill_9_of_the_process_outside(smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Answers come as before; what it did is done no more, which is said and counted."""
    log = tmp_path / "access.log"
    with serve([smollm2_bundle, "--no-browser", "--access-log", log], environment) as running:
        works(running)
        assert read_pdf(running, "Hello from a file")[0] == 200
        (outside,) = children(running.model_pid())
        os.kill(outside, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{outside}/exe").exists() or outside not in children(running.model_pid()))
        works(running)
        status, body = read_pdf(running, "Hello again")
        assert status >= 400 and json.loads(body)["error"]["message"]
        assert metric(running, "solofile_access_log_failures_total") > 0
        works(running)
    assert f"The access log {log} cannot be written (Broken pipe): lines are lost." in running.errors


def test_kill_9_of_what_reads_a_pdf(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    with serve([smollm2_bundle, "--no-browser"], environment) as running:
        works(running)
        (outside,) = children(running.model_pid())
        answers: list[tuple[int, bytes]] = []
        long = " ".join(f"word{number}" for number in range(300_000))
        thread = threading.Thread(target=lambda: answers.append(read_pdf(running, long)))
        thread.start()
        os.kill(wait_until(lambda: children(outside))[0], signal.SIGKILL)
        thread.join(60)
        ((status, body),) = answers
        assert status >= 400 and json.loads(body)["error"]["message"]
        works(running)
        assert read_pdf(running, "Hello again")[0] == 200
