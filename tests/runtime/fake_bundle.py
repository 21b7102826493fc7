"""Runs the command line of a bundle on a fake engine, as a process of its own: ``fake_bundle.py SCENE WORDS…``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fake_engine import FakeEngine, Script  # noqa: E402
from rules import choose_by_rules  # noqa: E402
from solofile.runtime import __main__ as program  # noqa: E402
from solofile.runtime import boot, cli  # noqa: E402
from solofile.runtime.container import Bundle  # noqa: E402
from solofile.runtime.engine_api import Engine, Phase, Request  # noqa: E402
from solofile.runtime.errors import InputError  # noqa: E402
from solofile.runtime.settings import Launch  # noqa: E402

CHAT = "/v1/chat/completions"


def make_engine(scene: str) -> Engine:
    """``loading`` for ever; ``broken``; ``endless`` answers; ``thinking`` without a first word; else a short answer."""
    phases: dict[str, Phase] = {"loading": "loading", "broken": "failed"}
    engine = FakeEngine(phases.get(scene, "ready"), message="the file ends early")
    script = {
        "endless": Script.sse(["bla "], delay=0.01, repeat=True),
        "thinking": Script.sse(["late"], think=60),
        "modules": Script.sse([" ".join(sorted(sys.modules))]),
    }
    engine.on("POST", CHAT, script.get(scene, Script.sse(["Grüße ", "aus Paris 🗼"])))
    props = {"default_generation_settings": {"n_ctx": 100, "params": {}}}
    engine.on("GET", "/props", Script([json.dumps(props).encode()]))
    for_the_terminal(scene, engine)
    if scene == "modules":  # asked when the answer begins, after everything was imported
        engine.on("POST", CHAT, lambda _: Script.sse([" ".join(sorted(sys.modules))]))
    return engine


def for_the_terminal(scene: str, engine: FakeEngine) -> None:
    """``echo``; ``dying``; ``refusing``; ``counting`` tokens; ``markdown`` and escapes and thoughts."""

    def echo(request: Request) -> Script:
        return Script.sse([f"You said: {json.loads(request.body)['messages'][-1]['content']!r}"])

    def die(_: Request) -> Script:
        engine.become("failed", message="it broke")
        return Script([b'{"error":{"code":500,"message":"it broke"}}'], 500)

    timings = {"predicted_n": 3, "predicted_per_second": 50.0, "prompt_n": 7, "cache_n": 80}
    last = {"choices": [{"delta": {}, "finish_reason": "length"}], "timings": timings}
    thought = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
    counting, markdown = Script.sse(["Paris."]), Script.sse(["# Ti", "tle\n**bo", "ld** \x1b[2J", " end\n"])
    scripts = {
        "echo": echo,
        "dying": die,
        "refusing": Script([b'{"error":{"code":400,"message":"too long"}}'], 400),
        "counting": replace(counting, chunks=[*counting.chunks, f"data: {json.dumps(last)}\n\n".encode()]),
        "markdown": replace(markdown, chunks=[f"data: {json.dumps(thought)}\n\n".encode(), *markdown.chunks]),
    }
    if scene in scripts:
        engine.on("POST", CHAT, scripts[scene])  # type: ignore[arg-type]


def main() -> None:
    """Run ``__main__`` with the scene's engine."""
    scene, words = sys.argv[1], sys.argv[2:]
    sys.argv[1:] = words

    def start(launch: Launch, bundle: Bundle, environ: Mapping[str, str], *_: object) -> boot.Started:
        if scene == "refused":
            raise InputError("tiny needs 9 GB of memory, and 4 GB are free: close other programs.")
        return boot.Started(make_engine(scene), choose_by_rules(launch, bundle, environ))

    cli.main.__defaults__ = (None, None, None, start)
    program.run()


if __name__ == "__main__":
    main()
