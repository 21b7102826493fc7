"""Short and long requests to a bundle's server, and what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from running import Running

HELLO = {"prompt": "Hello", "n_predict": 3}
STORY = {"prompt": "Once upon a time", "n_predict": 3000, "ignore_eos": True, "stream": True}


def works(running: Running) -> None:
    """The next request is answered."""
    assert running.json("POST", "/completion", HELLO)["tokens_predicted"] == 3


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
