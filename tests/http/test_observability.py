"""Metrics, access log, request ids, readiness, traces, the OpenAPI description."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from collector import Collector
from fake_engine import FakeEngine, Script, wait_until
from http_support import ABOUT, MakeClient, MakeServer
from prometheus_client.parser import text_string_to_metric_families
from solofile.runtime import usage
from solofile.runtime.access_log import AccessLog
from solofile.runtime.api import ROUTES
from solofile.runtime.app import create_app
from solofile.runtime.auth import Key
from solofile.runtime.errors import InputError
from solofile.runtime.exposition import Counter, Histogram
from solofile.runtime.observer import Observer
from solofile.runtime.serve import Server
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.tracing import Endpoint, span
from solofile.runtime.usage import Usage
from solofile.runtime.visit import Visit, request_id
from werkzeug.test import Client

CHAT = "/v1/chat/completions"
TIMINGS = {"cache_n": 16, "prompt_n": 4, "predicted_n": 3}


def stream(*pieces: str) -> Script:
    script = Script.sse(list(pieces), delay=0.02)
    last = {"choices": [], "timings": TIMINGS}
    closing_chunks = [f"data: {json.dumps(last, separators=(',', ':'))}\n\n".encode(), b"data: [DONE]\n\n"]
    return Script([*script.chunks[:-1], *closing_chunks], fields=script.fields, delay=script.delay)


def ask(server: Server, path: str = CHAT, method: str = "POST", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request(method, path, "{}" if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def metrics(server: Server, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status, body, fields = ask(server, "/metrics", "GET", **headers)
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return samples(body.decode())


def test_metrics_count_what_happens(make_server: MakeServer, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, stream("a", "b", "c"))
    engine.on("GET", "/metrics", Script([b"# TYPE llamacpp:n gauge\nllamacpp:n 5\n"]))
    server = make_server(keys=(Key.of("k", "lab"),))
    key = {"Authorization": "Bearer k"}
    assert ask(server, **key)[0] == 200
    assert ask(server)[0] == 401
    assert wait_until(lambda: metrics(server, **key)["solofile_answer_seconds_count", ()] == 1)
    found = metrics(server, **key)
    assert found["solofile_requests_total", (("route", CHAT), ("status", "200"))] == 1
    assert found["solofile_requests_total", (("route", CHAT), ("status", "401"))] == 1
    assert found["solofile_prompt_tokens_total", ()] == 4
    assert found["solofile_cached_tokens_total", ()] == 16
    assert found["solofile_completion_tokens_total", ()] == 3
    assert found["solofile_key_tokens_total", (("key", "lab"),)] == 23
    assert found["solofile_first_token_seconds_count", ()] == 1
    assert found["solofile_between_tokens_seconds_count", ()] == 4
    assert found["solofile_requests_running", ()] == 0
    assert found["solofile_memory_bytes", (("kind", "anonymous"),)] > 1 << 20
    assert found["solofile_open_files", ()] > 3
    assert found["llamacpp:n", ()] == 5
    assert ask(server, "/metrics", "GET")[0] == 401


def test_metrics_do_not_wait_for_a_core_that_computes(
    make_client: MakeClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solofile.runtime import metrics as figures

    engine.on("GET", "/metrics", Script([b"llamacpp:n 5\n"], think=3))
    monkeypatch.setattr(figures.CoreFigures.text, "__defaults__", (0.05,))
    text = make_client().get("/metrics").get_data(as_text=True)
    assert "solofile_slots 1\n" in text
    assert "llamacpp" not in text
    engine.become("loading")
    assert make_client().get("/ready").status_code == 503


def test_what_is_cut_and_refused_is_counted(make_server: MakeServer, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.sse(["x"], delay=0.02, repeat=True))
    server = make_server(max_seconds=0.2, queue=0)
    thread = threading.Thread(target=ask, args=(server,))
    thread.start()
    assert wait_until(lambda: bool(engine.calls))
    assert ask(server)[0] == 429
    thread.join()
    assert wait_until(lambda: ("solofile_answers_cut_total", (("end", "time"),)) in metrics(server))
    assert metrics(server)["solofile_refused_total", (("reason", "queue"),)] == 1
    engine.on("POST", CHAT, Script.sse(["x"], delay=0.02))
    engine.on("POST", CHAT, Script([b"data: 1\n\n"] * 5, fields=[("Content-Type", "text/event-stream")], break_after=2))
    with pytest.raises(http.client.IncompleteRead):
        ask(server)
    assert wait_until(lambda: ("solofile_answers_cut_total", (("end", "broken"),)) in metrics(server))
    assert metrics(server)["solofile_requests_running", ()] == 0


def test_names_and_values_are_written_so_that_they_can_be_read() -> None:
    counter = Counter("a_total", "With \\ and\nlines.", ("l",))
    counter.add(2.5, 'q"u\\o\nte')
    assert samples(counter.text()) == {("a_total", (("l", 'q"u\\o\nte'),)): 2.5}
    histogram = Histogram("h", "Seconds.", (0.1, 1))
    histogram.add(0.1, 0.5, 7)
    found = {name: value for (name, labels), value in samples(histogram.text()).items() if not labels}
    assert (found["h_count"], found["h_sum"]) == (3, 7.6)
    assert samples(histogram.text())["h_bucket", (("le", "1"),)] == 2
    assert samples(histogram.text())["h_bucket", (("le", "+Inf"),)] == 3


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (b'data: {"choices":[{"delta":{"content":"\\"timings\\":{\\"prompt_n\\":9}"}}]}', None),
        (b'x"timings":{"cache_n":1,"prompt_n":2,"predicted_n":3,"x":1.5}}', Usage(2, 1, 3)),
        (b'"usage":{"prompt_tokens":5,"total_tokens":5}', Usage(5, 0, 0)),
        (b'"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}',
         Usage(1, 4, 2)),
        (b'"usage":{"cache_read_input_tokens":7,"input_tokens":3,"output_tokens":2}', Usage(3, 7, 2)),
        (b'"usage":{"input_tokens":9,"output_tokens":1,"input_tokens_details":{"cached_tokens":3}}', Usage(6, 3, 1)),
        (b'"usage":{broken', Usage()),
    ],
)  # fmt: skip
def test_tokens_are_read_from_the_answer(chunk: bytes, expected: Usage | None) -> None:
    assert usage.read(chunk) == expected


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_access_log(make_server: MakeServer, engine: FakeEngine, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    engine.on("POST", CHAT, stream("a", "b"))
    server = make_server(access_log=log, keys=(Key.of("s3cret", "lab"),))
    assert ask(server, f"{CHAT}?token=hidden", Authorization="Bearer s3cret", **{"X-Request-Id": "mine-1"})[0] == 200
    assert ask(server, "/no\nsuch".replace("\n", "%0A"), "GET", Authorization="Bearer s3cret")[0] == 404
    assert ask(server, Authorization="Bearer wr0ng")[0] == 401
    assert wait_until(lambda: len(log.read_text().splitlines()) == 3)
    answered, missing, locked = lines(log)
    assert answered.pop("time").endswith("Z")
    assert 0 < answered.pop("first") < answered.pop("seconds") < 5
    assert answered.pop("bytes") > 100
    assert answered == {
        "id": "mine-1", "client": "127.0.0.1", "key": "lab", "method": "POST", "path": CHAT, "status": 200,
        "prompt": 4, "cached": 16, "completion": 3, "end": "whole",
    }  # fmt: skip
    assert (missing["path"], missing["status"], len(missing["id"])) == ("/no\nsuch", 404, 32)
    assert (locked["status"], locked["key"]) == (401, None)
    assert log.stat().st_mode & 0o007 == 0
    for secret in ("s3cret", "wr0ng", "hidden"):
        assert secret not in log.read_text()


def visit(number: int) -> Visit:
    made = Visit(f"id-{number}", "GET", "127.0.0.1")
    made.path = "/x"
    return made


def test_the_access_log_rotates_and_follows_a_file_that_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = AccessLog(path, 400, pytest.fail, lambda: None, kept=2)
    for number in range(12):
        log.write(visit(number))
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["a.log", "a.log.1", "a.log.2"]
    assert all(entry.stat().st_size <= 400 for entry in tmp_path.iterdir())
    kept = [line["id"] for name in reversed(names) for line in lines(tmp_path / name)]
    assert kept == [f"id-{number}" for number in range(12 - len(kept), 12)]
    path.rename(tmp_path / "moved")
    log.write(visit(99))
    assert [line["id"] for line in lines(path)] == ["id-99"]
    log.close()


def test_a_disk_that_is_full_costs_lines_and_no_requests(make_server: MakeServer) -> None:
    said: list[str] = []
    failed: list[int] = []
    log = AccessLog(Path("/dev/full"), 1000, said.append, lambda: failed.append(1))
    for number in range(3):
        log.write(visit(number))
    log.close()
    assert len(failed) == 3
    assert said == ["The access log /dev/full cannot be written (No space left on device): lines are lost."]
    server = make_server(access_log=Path("/dev/full"))
    assert ask(server)[0] == 200
    assert wait_until(lambda: metrics(server)["solofile_access_log_failures_total", ()] > 0)


def test_an_access_log_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path) -> None:
    settings = ServerSettings(access_log=tmp_path / "none" / "a.log")
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\): give --access-log"):
        Observer(FakeEngine(), settings, ABOUT)


def test_request_ids_come_and_go(client: Client) -> None:
    for path in ("/", "/v1/models", "/nothing", "/health"):
        assert client.get(path, headers={"X-Request-Id": "abc.1"}).headers["X-Request-Id"] == "abc.1"
    new = [client.get("/health").headers["X-Request-Id"] for _ in range(2)]
    assert new[0] != new[1]
    for bad in ("", "a b", "x" * 129, "<script>", 'a"'):
        assert request_id(bad) != bad


def test_ready_is_for_load_balancers(engine: FakeEngine) -> None:
    settings = ServerSettings(queue=0)
    observer = Observer(engine, settings, ABOUT)
    client = Client(create_app(engine, settings, ABOUT, observer=observer))
    assert client.get("/ready").get_data() == b'{"status":"ok"}'
    ticket = observer.admission.enter()
    assert client.get("/ready").get_json()["error"]["message"] == "The queue is full."
    assert client.get("/health").status_code == 200
    observer.admission.leave(ticket, 0)  # type: ignore[arg-type]
    assert client.get("/ready").status_code == 200
    observer.admission.close()
    assert client.get("/ready").status_code == 503
    assert client.post(CHAT, json={}).status_code == 503
    engine.become("failed", message="no")
    assert client.get("/ready").status_code == 503


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        server.listen()
        yield server


def test_traces_reach_a_collector(make_server: MakeServer, engine: FakeEngine, collector: Collector) -> None:
    engine.on("POST", CHAT, stream("a", "b"))
    server = make_server(otlp_endpoint=collector.url)
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert ask(server, traceparent=parent)[0] == 200
    assert wait_until(lambda: bool(collector.got), 10)
    path, sent = collector.got[0]
    assert path == "/v1/traces"
    (resource,) = sent["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "solofile"}} in resource["resource"]["attributes"]
    (found,) = resource["scopeSpans"][0]["spans"]
    assert (found["traceId"], found["parentSpanId"], len(found["spanId"])) == ("ab" * 16, "cd" * 8, 16)
    assert (found["name"], found["kind"]) == (f"POST {CHAT}", 2)
    assert int(found["endTimeUnixNano"]) > int(found["events"][0]["timeUnixNano"]) > int(found["startTimeUnixNano"])
    facts = {one["key"]: one["value"] for one in found["attributes"]}
    assert facts["gen_ai.usage.output_tokens"] == {"intValue": "3"}
    assert "status" not in found


def test_a_collector_that_is_away_costs_spans_and_no_requests(make_server: MakeServer) -> None:
    server = make_server(otlp_endpoint="http://127.0.0.1:9")
    assert ask(server)[0] == 200
    assert wait_until(lambda: metrics(server)["solofile_spans_dropped_total", ()] == 1, 10)


def test_a_span_of_a_failure_says_so() -> None:
    made = visit(1)
    made.status = 500
    assert span(made)["status"] == {"code": 2}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "http://10.1.2.3:4318", "http://[fd00::1]:4318/x/", "http://localhost"]
)
def test_collectors_nearby(url: str) -> None:
    assert Endpoint(url).path in ("/v1/traces", "/x")


@pytest.mark.parametrize(
    "url",
    ["http://8.8.8.8:4318", "http://collector.example", "https://127.0.0.1", "127.0.0.1:4318", "http://0.0.0.0",
     "http://user:x@127.0.0.1", "http://127.0.0.1:99999", "http://[", "ftp://127.0.0.1", "http://[2001:4860::1]"],
)  # fmt: skip
def test_other_collectors_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="--otlp-endpoint"):
        Endpoint(url)


def test_the_description_has_every_route(make_client: MakeClient) -> None:
    client = make_client(api_prefix="/llm", api_keys=("k",))
    assert client.get("/llm/openapi.json").status_code == 401
    found = client.get("/llm/openapi.json", headers={"Authorization": "Bearer k"}).get_json()
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert {(method, path.replace(":id_slot", "{id_slot}")) for method, path in ROUTES} <= described
    assert found["servers"] == [{"url": "/llm"}]
    assert found["paths"]["/v1/models"]["get"]["security"] == [{"key": []}]
    assert "security" not in found["paths"]["/ready"]["get"]
    for path, methods in found["paths"].items():
        if "get" in methods and "{" not in path and path not in ("/cors-proxy", "/tools"):
            assert client.get(f"/llm{path}", headers={"Authorization": "Bearer k"}).status_code != 405
