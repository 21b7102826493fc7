"""Run as a program: sends generated requests to the whole app over a real engine, in this process.

    python tests/engine/fuzz.py NATIVE_DIR MODEL.gguf COUNT [SEED]

Schemathesis makes the requests from what the server says of itself at /openapi.json: as described, and not. Each that
has a body is sent `CHANGED` times more with bytes of its body cut, doubled or replaced by what parsers stumble over.
Prints JSON: how many there were, of which status, and what went wrong: an answer of 500 or more, none within `PATIENCE`
seconds. A crash of native code shows as the end of this process.
"""

from __future__ import annotations

import collections
import faulthandler
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import schemathesis
import werkzeug  # noqa: F401 - whole, before the runtime leaves parts of it out
from hypothesis import strategies
from schemathesis import GenerationMode

# isort: split
from solofile.runtime.app import create_app
from solofile.runtime.engine import LlamaEngine, Member
from solofile.runtime.server_settings import About, ServerSettings
from werkzeug.test import Client

PATIENCE = 60.0
CHANGED = 9
STUMBLES = (
    b"null",
    b"-1",
    b"1e308",
    b"99999999999999999999",
    b"0.1",
    b"[",
    b"{",
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"[[[[[[[",
    b'"grammar":"root ::= (", ',
    b'"stream":true,',
    b'"n":2147483648,',
    b'"tools":[{}],',
    b"true",
    b'""',
)
TOKENS = 8
NOT_STARTED_WITH = 501
"""llama-server's answer for what its command line or its model does not have: audio, --props."""

OPTIONS = ["-c", "1024", "-np", "2", "--metrics", "--slots", "--embeddings", "--pooling", "mean", "--warmup"]


class Tally:
    """What came of the requests."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.sent, self.slowest = wanted, 0, 0.0
        self.statuses: collections.Counter[int] = collections.Counter()
        self.wrong: list[dict[str, Any]] = []

    def count(self, place: tuple[str, str], sent: object, status: int, text: str, seconds: float) -> None:
        self.sent += 1
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        if (status >= 500 and status != NOT_STARTED_WITH) or seconds > PATIENCE:
            shown = {"place": place, "body": repr(sent)[:2000], "status": status, "answer": text[:500]}
            self.wrong.append({**shown, "seconds": seconds})


def closing(app: Any) -> Any:
    """The app with each answer closed at its end, as a server does it and Schemathesis does not."""

    def run(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = app(environ, start_response)
        try:
            return [b"".join(body)]
        finally:
            if hasattr(body, "close"):
                body.close()

    return run


def start(native_dir: Path, model: Path) -> LlamaEngine:
    member = Member("tiny.gguf", model, 0, model.stat().st_size)
    backend = native_dir / "libggml-cpu-x64.so"
    engine = LlamaEngine.start(native_dir, [backend], ["-m", member.name, *OPTIONS], [member])
    if engine.wait(60).phase != "ready":
        raise RuntimeError(engine.state().message)
    return engine


def changed(body: bytes, random: Random) -> bytes:
    """A body with one to four changes."""
    for _ in range(random.randint(1, 4)):
        place, end = sorted(random.randrange(len(body) + 1) for _ in range(2))
        end = min(end, place + 40)
        piece = random.choice([b"", body[place:end] * 2, random.choice(STUMBLES), bytes([random.randrange(256)])])
        body = body[:place] + piece + body[end:]
    return body


def run(operation: Any, tally: Tally, share: int, seed: int, client: Client) -> None:
    """Send ``share`` requests of one operation, most of them as described."""
    random = Random(seed)
    valid = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=share, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategies.one_of(valid, valid, wrong))
    def send(case: Any) -> None:
        faulthandler.dump_traceback_later(PATIENCE * 2, exit=True)
        begun = time.monotonic()
        answer = case.call()
        place = (case.method, case.formatted_path)
        tally.count(place, case.body, answer.status_code, answer.text, time.monotonic() - begun)
        if case.method != "POST" or not isinstance(case.body, dict | list):
            return
        whole = json.dumps(case.body, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
        for _ in range(CHANGED):
            sent = changed(whole, random)
            faulthandler.dump_traceback_later(PATIENCE * 2, exit=True)
            begun = time.monotonic()
            got = client.post(case.formatted_path, data=sent, content_type="application/json")
            tally.count(place, sent, got.status_code, got.get_data(as_text=True), time.monotonic() - begun)

    try:
        send()
    except hypothesis.errors.Unsatisfiable:
        return  # nothing but the described can be sent to a route without parameters


def main() -> None:
    native_dir, model, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    engine = start(native_dir, model)
    settings = ServerSettings(hosts=("0.0.0.0",), max_tokens=TOKENS)  # any Host: the client's is localhost
    app = closing(create_app(engine, settings, About("tiny")))
    client = Client(app)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    with_body = [one for one in operations if one.body]
    tally = Tally(count)
    begun, round_number = time.monotonic(), 0
    while tally.sent < count:
        left = count - tally.sent
        for operation in operations:
            # A route without a body has little that could be generated.
            share = max(1, min(100, left // len(with_body) // (CHANGED + 1))) if operation.body else 1
            run(operation, tally, share, seed + round_number, client)
            if tally.sent >= count:
                break
        round_number += 1
        seconds = time.monotonic() - begun
        said = f"{tally.sent} requests, {seconds:.0f} s, {dict(tally.statuses)}, {len(tally.wrong)} wrong"
        print(said, file=sys.stderr, flush=True)
    found = {"sent": tally.sent, "statuses": tally.statuses, "slowest": round(tally.slowest, 2), "wrong": tally.wrong}
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
