"""HAProxy and nginx before two bundles, with the configurations of recipes/serving."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import NAMES, Answer, Fleet

pytestmark = pytest.mark.e2e

SYSTEM = {"role": "system", "content": "You are a helpful assistant who likes to talk about mountains and lakes."}
CONFIGS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light"}
TOPICS = ("apples", "boats", "clouds", "drums", "eagles", "ferns", "grapes", "hills", "inns", "jars", "kites", "lamps")


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def balancer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (Debian package {PACKAGES[name]})")
    return name


@pytest.fixture
def fleet(smollm2_bundle: Path, balancer: str, serving: Path, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(smollm2_bundle, tmp_path)
    try:
        for name in NAMES:
            made.start(name)
        made.balance(balancer, serving / CONFIGS[balancer])
        yield made
    finally:
        made.stop()


def question(text: str) -> list[dict[str, str]]:
    return [SYSTEM, {"role": "user", "content": text}]


def test_a_conversation_stays_where_its_state_is(fleet: Fleet) -> None:
    talks = {topic: question(f'Tell me something about "{topic}" and {{how}} they are made.') for topic in TOPICS}
    first = {topic: fleet.ask(talk) for topic, talk in talks.items()}
    assert {answer.who for answer in first.values()} == set(NAMES)
    for topic in TOPICS[-4:]:  # of the others the state may be gone: there are two slots each
        talk = [*talks[topic], {"role": "assistant", "content": first[topic].text}, {"role": "user", "content": "Why?"}]
        assert fleet.ask(talk).who == first[topic].who
    topic = TOPICS[-1]
    talk = [*talks[topic], {"role": "assistant", "content": first[topic].text}, {"role": "user", "content": "Where?"}]
    again = fleet.ask(talk)
    assert again.who == first[topic].who
    assert again.cached > 30, "its prompt was read again"


def test_a_header_keeps_a_conversation_together(fleet: Fleet) -> None:
    seen: dict[str, set[str]] = {}
    for turn in range(3):
        for topic in TOPICS[:8]:
            answer = fleet.ask(question(f"{topic} {turn}"), {"X-Session-Id": topic}, max_tokens=1)
            seen.setdefault(topic, set()).add(answer.who)
    assert all(len(names) == 1 for names in seen.values())
    assert set.union(*seen.values()) == set(NAMES)


def test_a_killed_bundle_loses_no_further_request(fleet: Fleet) -> None:
    talk = question("Tell me about rivers.")
    lost = fleet.ask(talk).who
    fleet.kill(lost)
    begin = time.monotonic()
    while time.monotonic() - begin < 3:
        assert fleet.ask(talk, max_tokens=1).who != lost
        assert fleet.ask(question(f"Tell me about {time.monotonic()}."), max_tokens=1).who != lost
    fleet.start(lost)
    end = time.monotonic() + 30
    while fleet.ask(talk, max_tokens=1).who != lost:  # it gets its conversations back
        assert time.monotonic() < end
        time.sleep(0.2)


def streamed(fleet: Fleet, talk: list[dict[str, str]], tokens: int, begun: threading.Event) -> list[tuple[float, str]]:
    """The lines of a streamed answer, each with the time at which it came."""
    connection = http.client.HTTPConnection("127.0.0.1", fleet.ports["front"], timeout=120)
    body = {"messages": talk, "temperature": 0, "max_tokens": tokens, "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    lines = []
    for line in answer:
        if line.startswith(b"data: "):
            lines.append((time.monotonic(), line[6:].decode().strip()))
            begun.set()
    connection.close()
    return lines


def test_a_stream_comes_token_by_token(fleet: Fleet) -> None:
    lines = streamed(fleet, question("Write a very long story about a lighthouse."), 80, threading.Event())
    times = [when for when, _ in lines]
    assert lines[-1][1] == "[DONE]"
    assert len(lines) > 60
    # Collected on the way they come in a few heaps, or in one.
    assert len({round(when, 3) for when in times}) > 20


def test_a_bundle_that_ends_finishes_its_answers(fleet: Fleet, smollm2_bundle: Path) -> None:
    told = subprocess.run([smollm2_bundle, "--help"], capture_output=True, text=True, check=True, timeout=60)
    if "--drain-seconds" not in told.stdout:
        pytest.skip("this runtime ends its answers when it is asked to end: it has no --drain-seconds")
    talk = question("Write a very long story about a lighthouse.")
    leaving = fleet.bundles[fleet.ask(talk, max_tokens=1).who].process
    begun, lines = threading.Event(), list[tuple[float, str]]()
    reader = threading.Thread(target=lambda: lines.extend(streamed(fleet, talk, 150, begun)))
    reader.start()
    assert begun.wait(60)
    leaving.send_signal(signal.SIGTERM)
    others: list[Answer] = []
    while reader.is_alive() or len(others) < 6:
        others.append(fleet.ask(question(f"Tell me about {TOPICS[len(others) % 12]}."), max_tokens=1))
    reader.join(60)
    assert lines[-1][1] == "[DONE]"
    reasons = [json.loads(text)["choices"][0]["finish_reason"] for _, text in lines[:-1] if '"choices":[{' in text]
    assert [reason for reason in reasons if reason] == ["length"]
    assert leaving.wait(20) == 0
    assert fleet.ask(talk, max_tokens=1)
