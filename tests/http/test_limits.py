"""Who may be answered now: the queue, the limits of keys and of requests, and what bodies may be."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Script, wait_until
from http_support import MakeClient, MakeServer
from solofile.runtime import bodies, grammar_bounds, httpd
from solofile.runtime.admission import Admission, Refusal, Ticket
from solofile.runtime.auth import Key, read_api_keys
from solofile.runtime.deadlines import Deadlines
from solofile.runtime.errors import InputError, UnknownName
from solofile.runtime.http_errors import BadBodyError
from solofile.runtime.serve import Server
from solofile.runtime.stuck import StuckWatch
from solofile.runtime.uploads import SMALL, Uploads

CHAT = "/v1/chat/completions"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def enter(admission: Admission, key: Key) -> Ticket:
    ticket = admission.enter(key)
    assert isinstance(ticket, Ticket)
    return ticket


def refusal(admission: Admission, key: Key) -> Refusal:
    found = admission.enter(key)
    assert isinstance(found, Refusal)
    return found


PLAIN = Key.of("k", "plain")


def test_the_queue_has_a_length(clock: Clock) -> None:
    admission = Admission(2, clock)
    admission.slots = 2
    tickets = [enter(admission, PLAIN) for _ in range(4)]
    assert (admission.running, admission.waiting, admission.full) == (2, 2, True)
    found = refusal(admission, PLAIN)
    assert (found.reason, found.status) == ("queue", 429)
    assert found.message == "2 requests wait already (--queue): ask later."
    assert 1 <= found.retry_after <= 60
    admission.leave(tickets[0], 5)
    assert not admission.full
    enter(admission, PLAIN)


def test_a_queue_of_nothing_still_computes(clock: Clock) -> None:
    admission = Admission(0, clock)
    ticket = enter(admission, PLAIN)
    assert refusal(admission, PLAIN).reason == "queue"
    admission.leave(ticket, 0)
    enter(admission, PLAIN)


def test_retry_after_grows_with_what_answers_take(clock: Clock) -> None:
    admission = Admission(8, clock)
    for _ in range(20):
        ticket = enter(admission, PLAIN)
        clock.now += 40
        admission.leave(ticket, 0)
    tickets = [enter(admission, PLAIN) for _ in range(9)]
    assert refusal(admission, PLAIN).retry_after == 60
    assert len(tickets) == 9


def test_requests_of_a_key_in_a_minute(clock: Clock) -> None:
    admission, key = Admission(99, clock), Key.of("k", "lab")._replace(requests=2)
    for _ in range(2):
        admission.leave(enter(admission, key), 0)
        clock.now += 10
    found = refusal(admission, key)
    assert (found.reason, found.retry_after) == ("requests", 40)
    assert enter(admission, PLAIN), "others are not held up"
    clock.now += 40
    enter(admission, key)
    assert refusal(admission, key).retry_after == 10


def test_tokens_of_a_key_in_a_minute(clock: Clock) -> None:
    admission, key = Admission(99, clock), Key.of("k", "lab")._replace(tokens=100)
    admission.leave(enter(admission, key), 99)
    clock.now += 5
    admission.leave(enter(admission, key), 50)
    found = refusal(admission, key)
    assert (found.reason, found.retry_after) == ("tokens", 55)
    clock.now += 55
    enter(admission, key)


def test_requests_of_a_key_at_once(clock: Clock) -> None:
    admission, key = Admission(99, clock), Key.of("k", "lab")._replace(concurrent=1)
    ticket = enter(admission, key)
    assert refusal(admission, key) == Refusal(
        "concurrent", "This key may have 1 request at once: wait for an answer.", 1
    )
    admission.leave(ticket, 0)
    enter(admission, key)


def test_nobody_is_let_in_at_the_end(clock: Clock) -> None:
    admission = Admission(99, clock)
    admission.close()
    assert refusal(admission, PLAIN).status == 503


def test_a_file_of_keys_with_limits(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of foo
    path.write_text(f"one name=lab requests=60 tokens=1000 concurrent=4\nsha256:{digest}  concurrent=1\n")
    assert read_api_keys(path) == [
        Key.of("one", "lab")._replace(requests=60, tokens=1000, concurrent=4),
        Key.of("foo", "key-2")._replace(concurrent=1),
    ]


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("k3y word", InputError, "a key has no spaces in it"),
        ("k3y requests=0", InputError, "requests= needs a whole number above 0"),
        ("k3y tokens=many", InputError, "tokens= needs a whole number above 0"),
        ("k3y request=5", UnknownName, "did you mean requests?"),
        ("sha256:12", InputError, "64 hexadecimal digits"),
        ("k3y name=" + "x" * 99, InputError, "longer than 64"),
    ],
)
def test_a_file_of_keys_that_says_something_else(tmp_path: Path, line: str, error: type, said: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(error) as caught:
        read_api_keys(path)
    assert said in str(caught.value)
    assert "line 2" in str(caught.value)
    assert "k3y" not in str(caught.value), "a message may end up in a log"


def ask(server: Server, path: str = CHAT, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("POST", path, json.dumps(body or {}), headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())


def test_past_the_queue_a_client_is_told_when_to_come_again(make_server: MakeServer, engine: FakeEngine) -> None:
    engine.on("POST", CHAT, Script.chat("x", think=1))
    server = make_server(queue=1)
    results: list[tuple[int, Any, dict[str, str]]] = []
    threads = [threading.Thread(target=lambda: results.append(ask(server))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: len(engine.calls) == 2)
    status, body, fields = ask(server)
    assert (status, json.loads(body)["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(fields["Retry-After"]) <= 60
    assert ask(server, "/tokenize", {"content": "x"})[0] == 404, "what needs no slot is not queued (and scripted)"
    for thread in threads:
        thread.join()
    assert [status for status, *_ in results] == [200, 200]
    assert ask(server)[0] == 200


def test_the_limits_of_a_key_are_put_into_effect(make_server: MakeServer, engine: FakeEngine) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 10}}
    whole = json.dumps({"choices": [], "usage": usage}, separators=(",", ":")).encode()
    engine.on("POST", CHAT, Script([whole]))
    server = make_server(keys=(Key.of("k", "lab")._replace(tokens=100), Key.of("other", "other")))
    for _ in range(2):
        assert ask(server, Authorization="Bearer k")[0] == 200
    status, body, fields = ask(server, Authorization="Bearer k")
    assert (status, fields["Retry-After"]) == (429, "60")
    assert json.loads(body)["error"]["message"] == "This key may use 100 tokens a minute: ask later."
    assert ask(server, Authorization="Bearer other")[0] == 200


def test_an_answer_that_takes_too_long(make_server: MakeServer, engine: FakeEngine) -> None:
    server = make_server(max_seconds=0.3)
    engine.on("POST", CHAT, Script.chat("x", think=60))
    begun = time.monotonic()
    status, body, _ = ask(server)
    assert (status, json.loads(body)["error"]["type"]) == (504, "timeout_error")
    assert time.monotonic() - begun < 2
    engine.on("POST", CHAT, Script.sse(["x"], delay=0.05, repeat=True))
    status, body, _ = ask(server)
    assert status == 200
    assert body.startswith(b"data: ")
    assert b"event: error\ndata: " in body
    last = json.loads(body[body.rindex(b"data: ") + 6 :])
    assert last["error"]["message"] == "The answer took longer than 0.3 seconds (--max-seconds): ask for less."


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({}, {"n_predict": 9}),
        ({"n_predict": -1}, {"n_predict": 9}),
        ({"max_tokens": 100}, {"max_tokens": 9}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 50, "n_predict": 3}, {"max_completion_tokens": 9, "n_predict": 3}),
        ({"max_output_tokens": 1e9}, {"max_output_tokens": 9}),
        ({"n_predict": "many"}, {"n_predict": 9}),
    ],
)
def test_tokens_of_an_answer(make_client: MakeClient, engine: FakeEngine, given: object, got: object) -> None:
    make_client(max_tokens=9).post("/completion", json=given)
    assert json.loads(engine.requests[-1].body) == got


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b'{"prompt":"\xff"}', "no UTF-8 text (byte 11)"),
        (b'{"a":NaN}', "no number type"),
        (b'{"a":1e999}', "no number type"),
        (b'{"a":' + b"9" * 5000 + b"}", "no number type"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", "100 brackets"),
        (b"[" * 50_000_000, "100 brackets"),
        (b'{"a":' * 5000, "100 brackets"),
        (b"[]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b'{"grammar":"root ::= ' + b"(" * 65 + b'"}', "64 parentheses"),
        (b'{"grammar":"' + b"x" * 65537 + b'"}', "65536 characters"),
        (b'{"grammar":"root ::= ((\\"a\\"{50}){50}){50}"}', "2000 times"),
        (b'{"json_schema":{"type":"string","maxLength":1000000}}', "maxLength"),
        (b'{"tools":[{"function":{"parameters":{"pattern":"' + b"(" * 99 + b'"}}}]}', "64 parentheses"),
        (json.dumps({"response_format": {"properties": {str(n): {} for n in range(4000)}}}).encode(), "4000 parts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bodies_that_do_not_reach_the_core(make_client: MakeClient, engine: FakeEngine, body: bytes, said: str) -> None:
    answer = make_client().post("/completion", data=body)
    assert answer.status_code == 400
    assert said in answer.get_json()["error"]["message"]
    assert not engine.requests


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt":"' + b"[" * 5000 + b'\\"{{{"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":' + b"[" * 90 + b"]" * 90 + b"}",
        b'{"grammar":"root ::= [(] \\"(((\\" (\\"a\\"{3} \\"b\\"{2000})* # (((("}',
    ],
)
def test_bodies_that_do(body: bytes) -> None:
    assert bodies.check("/completion", body).body is body


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/embedding", {"content": [{"a": 1}]}, "The input is no text"),
        ("/v1/embeddings", {"input": [[1, None]]}, "The input is no text"),
        ("/v1/embeddings", {"input": "x", "encoding_format": None}, "encoding_format is no text"),
        ("/embedding", {"content": ["x", -(10**20)]}, "The input is no text"),
        ("/v1/embeddings", {"input": None}, "The input is no text"),
        ("/embedding", {"content": None}, "The input is no text"),
        ("/embedding", {"content": "x", "embd_normalize": None}, "embd_normalize is no number"),
        ("/completion", {"prompt": "x", "frequency_penalty": -1e308}, "frequency_penalty is out of all proportion"),
    ],
)
def test_fields_that_the_core_fails_at(path: str, body: object, said: str) -> None:
    with pytest.raises(BadBodyError, match=said):
        bodies.check(path, json.dumps(body).encode())


@pytest.mark.parametrize("given", ["x", 5, [1, 2], ["a", "b"], [[1, 2], [3, "x"]], {"prompt_string": "x"}])
def test_inputs_of_embeddings(given: object) -> None:
    assert bodies.check("/v1/embeddings", json.dumps({"input": given}).encode())


def test_depth_counts_brackets_outside_of_texts() -> None:
    many = b"[" * 101
    assert bodies.depth(many) == 101
    assert bodies.depth(b"[]" * 500) == 1
    assert bodies.depth(b'"' + many + b'\\"' + many + b'"' + b"[" * 120) == 120
    assert bodies.depth(b"[[" * 20) == 0, "not even counted"


def test_what_is_held_to_a_grammar_is_known() -> None:
    assert grammar_bounds.check({"grammar": "root ::= x"})
    assert grammar_bounds.check({"tools": []})
    assert not grammar_bounds.check({"grammar": "", "tools": None, "messages": []})
    with pytest.raises(BadBodyError, match="2000 times"):
        grammar_bounds.check_grammar('root ::= "x"{1,2001}')


def test_slots_need_no_body(make_client: MakeClient, engine: FakeEngine) -> None:
    engine.on("POST", "/slots/0", Script())
    assert make_client().post("/slots/0?action=erase").status_code == 200


def test_a_deadline_strikes_once_and_only_if_it_was_not_met() -> None:
    deadlines = Deadlines(0.01)
    struck: list[str] = []
    late = deadlines.within(0.05, lambda: struck.append("late"))
    with deadlines.within(0.05, lambda: struck.append("met")) as met:
        pass
    assert wait_until(lambda: late.passed)
    time.sleep(0.1)
    deadlines.stop()
    assert (struck, met.passed) == (["late"], False)


def test_large_bodies_share_the_memory() -> None:
    uploads = Uploads(3 * SMALL)
    with uploads.room() as first, uploads.room() as second, uploads.room() as third:
        assert first.take(3 * SMALL)
        assert uploads.held == 2 * SMALL
        assert not second.take(3 * SMALL)
        assert second.take(SMALL)
        assert third.take(SMALL)
    assert uploads.held == 0


def dribble(server: Server, head: bytes, seconds: float) -> tuple[float, bytes]:
    """Sends a byte every 50 ms; how long that went well, and what was answered."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.settimeout(0.05)
        sock.sendall(head)
        while time.monotonic() - begun < seconds:
            try:
                answer = sock.recv(65536)
            except TimeoutError:
                sock.sendall(b"x")
                continue
            except ConnectionResetError:
                answer = b""
            return time.monotonic() - begun, answer
    return seconds, b""


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nX: ", b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_client_of_a_byte_at_a_time_is_let_go(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(httpd, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(httpd, "BODY_SECONDS", -0.8)  # 9,999 bytes have 1.2 seconds more
    server = make_server()
    seconds, answer = dribble(server, head, 5)
    assert seconds < 2
    assert b" 408 " in answer
    assert ask(server, "/completion")[0] == 200


class StuckEngine:
    """An engine that never computes, and answers nothing unless ``answers``."""

    def __init__(self, *, answers: bool) -> None:
        self.inner = FakeEngine()
        self.inner.on("GET", "/metrics", Script(think=0.0 if answers else 60.0))

    def busy(self) -> float:
        return 0.0

    def call(self, request: Any) -> Any:
        return self.inner.call(request)


@pytest.mark.parametrize("answers", [True, False])
def test_a_core_stuck_in_a_grammar_is_ended(answers: bool) -> None:
    said: list[str] = []
    ended = threading.Event()
    engine = StuckEngine(answers=answers)
    watch = StuckWatch(engine, said.append, seconds=0.4, interval=0.02, suspicious=0.1, end=ended.set)
    watch.begin()
    assert ended.wait(1.5) is not answers
    watch.finish()
    assert bool(said) is not answers
    assert engine.inner.requests, "it was not asked"


def test_a_clock_that_jumps(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are kept, and limits count, by a clock that does not."""
    real, names = time.time, []
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for jump in (0, 86_400, -86_400):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            time.sleep(1.2)  # idle connections are looked at twice
            connection.request("POST", "/completion", b"{}")
            assert connection.getresponse().read()
            names.append(connection.sock.getsockname())
    assert len(set(names)) == 1, "the connection was closed"
