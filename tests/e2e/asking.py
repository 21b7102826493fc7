"""Short and long requests to a bundle's server, and what it says."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from running import Running

HELLO = {"prompt": "Hello", "n_predict": 3}
STORY = {"prompt": "Once upon a time", "n_predict": 3000, "ignore_eos": True, "stream": True}


def works(running: Running) -> None:
    """The next request is answered."""
    assert running.json("POST", "/completion", HELLO)["tokens_predicted"] == 3


def reading(running: Running, body: dict[str, Any]) -> tuple[threading.Thread, list[bytes]]:
    """A thread that reads a stream to its end, and the lines that have come."""
    lines: list[bytes] = []

    def read() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=120)) as connection:
            connection.request("POST", "/completion", json.dumps(body))
            lines.extend(connection.getresponse())

    thread = threading.Thread(target=read)
    thread.start()
    return thread, lines


def wait_until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What ``check`` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def message(answer: tuple[int, bytes]) -> tuple[int, str]:
    """The status of an error, and its sentence."""
    return answer[0], json.loads(answer[1])["error"]["message"]
