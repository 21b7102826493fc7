"""Run as a program: does one thing with a fresh engine and prints JSON of what happened.

Arguments: native_dir, JSON of {"file", "offset", "size"}, name of the scenario, options of llama-server.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from solofile.runtime.engine import LlamaEngine, Member
from solofile.runtime.engine_api import Request
from solofile.runtime.errors import SolofileError


def start(native_dir: str, place: str, options: list[str]) -> LlamaEngine:
    facts = json.loads(place)
    member = Member("the-model.gguf", Path(facts["file"]), facts["offset"], facts["size"])
    backend = Path(native_dir) / "libggml-cpu-x64.so"
    return LlamaEngine.start(Path(native_dir), [backend], ["-m", member.name, "-np", "2", *options], [member])


def props(engine: LlamaEngine) -> dict[str, object]:
    """The server's own account of itself once the model is there."""
    state = engine.wait(60)
    answer = engine.call(Request("GET", "/props")).run()
    result = {"phase": state.phase, "message": state.message, "props": json.loads(b"".join(answer))}
    engine.stop(10)
    return result


def loading(engine: LlamaEngine) -> dict[str, object]:
    """What is answered before the model is there."""
    first = engine.state()
    answer = engine.call(Request("GET", "/v1/models")).run()
    result = {"phase": first.phase, "status": answer.status, "body": json.loads(b"".join(answer))}
    result["then"] = engine.wait(60).phase
    result["progress"] = engine.state().progress
    engine.stop(10)
    return result


def stop_in_prompt(engine: LlamaEngine) -> dict[str, object]:
    """A stop while long prompts are being read, one answer is being written and one reader pauses."""
    engine.wait(60)
    body = json.dumps({"prompt": "t " * 1900, "n_predict": 10}).encode()
    statuses: list[int] = []

    def ask() -> None:
        answer = engine.call(Request("POST", "/completion", body=body)).run()
        list(answer)
        statuses.append(answer.status)

    paused = engine.call(
        Request("POST", "/completion", body=b'{"prompt": "t", "n_predict": 3000, "stream": true}')
    ).run()
    next(iter(paused))
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    open_before = len(statuses)
    started = time.monotonic()
    engine.stop(30)
    seconds = time.monotonic() - started
    for thread in threads:
        thread.join(5)
    alive = sum(thread.is_alive() for thread in threads)
    rest = list(paused)
    late = engine.call(Request("GET", "/health")).run()
    return {
        "answered_before": open_before,
        "seconds": seconds,
        "alive": alive,
        "statuses": statuses,
        "rest": len(rest),
        "late": late.status,
        "phase": engine.state().phase,
    }


def mapped(engine: LlamaEngine) -> dict[str, object]:
    """The lines of smaps about the host file, in bytes."""
    engine.wait(60)
    regions: list[dict[str, int]] = []
    here: dict[str, int] | None = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()
        if "-" in head[0] and not head[0].endswith(":"):
            here = None
            if line.endswith("host.bin"):
                begin, end = (int(part, 16) for part in head[0].split("-"))
                here = {"offset": int(head[2], 16), "size": end - begin}
                regions.append(here)
        elif here is not None and head[0] in ("Rss:", "Anonymous:"):
            here[head[0][:-1]] = int(head[1]) * 1024
    engine.stop(10)
    return {"regions": regions}


def media(engine: LlamaEngine) -> dict[str, object]:
    """What a request is answered whose picture lies at the URL in the environment."""
    engine.wait(60)
    content = [{"type": "image_url", "image_url": {"url": os.environ["MEDIA_URL"]}}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    answer = engine.call(Request("POST", "/v1/chat/completions", body=body)).run()
    result = {"status": answer.status, "body": json.loads(b"".join(answer))}
    engine.stop(10)
    return result


def main() -> None:
    native_dir, place, scenario, *options = sys.argv[1:]
    try:
        engine = start(native_dir, place, options)
    except SolofileError as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps(globals()[scenario](engine)))


if __name__ == "__main__":
    main()
