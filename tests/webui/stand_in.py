"""The real app over the scripted engine, with what the page asks beside llama.cpp's own routes.

`Site` starts, stops and starts it again at one port. Its `about`, its `status` and the answers of its engine are what
a test wants them to be.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fake_engine import SSE_FIELDS, FakeEngine, Script
from solofile.runtime.app import create_app
from solofile.runtime.engine_api import Request
from solofile.runtime.serve import Server, open_server
from solofile.runtime.server_settings import About, ServerSettings

N_CTX = 4096
TIMINGS = {"cache_n": 10, "prompt_n": 40, "predicted_n": 12, "predicted_ms": 300.0, "predicted_per_second": 40.0}

MODEL = {
    "name": "Tiny-1B",
    "architecture": "llama",
    "parameters": 1_235_814_432,
    "quantization": "Q4_K_M",
    "context_length": N_CTX,
    "license": "Apache-2.0",
    "size": 807_694_464,
    "multimodal": {"image": False, "audio": False},
}

ABOUT: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny model",
    "system_prompt": "Be brief.",
    "version": "0.1.0",
    "digest": "0123456789abcdef",
    "greeting": "What may I do for you?",
    "models": [MODEL],
    "defaults": {"temperature": 0.8, "top_k": 40},
    "kernel": "haswell on 2 threads (the fastest)",
    "hardware": "2 cores, 8 GB of memory, no GPU",
    "integrity": {"state": "unchecked", "detail": "start with --verify"},
    "port": None,
    "idle_exit": 600,
    "can_quit": True,
    "llama_cpp": {"version": "0.5.0", "commit": "0c1e570"},
}


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def talk(
    pieces: Sequence[str],
    *,
    reasoning: Sequence[str] = (),
    finish: str | None = "stop",
    progress: Sequence[int] = (),
    delay: float = 0.0,
    timings: dict[str, Any] | None = None,
    break_after: int | None = None,
) -> Script:
    """A streamed answer as llama.cpp gives it; without ``finish`` it breaks off."""

    def piece(reason: str | None = None, **delta: str) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    chunks = [event(**piece(), prompt_progress={"total": 100, "cache": 0, "processed": done}) for done in progress]
    chunks += [event(**piece(reasoning_content=text)) for text in reasoning]
    chunks += [event(**piece(content=text)) for text in pieces]
    if finish:
        chunks.append(event(**piece(finish), timings={**TIMINGS, "predicted_n": len(pieces), **(timings or {})}))
        chunks.append(b"data: [DONE]\n\n")
    return Script(chunks, fields=SSE_FIELDS, delay=delay, break_after=break_after)


def tokenize(request: Request) -> Script:
    words = json.loads(request.body)["content"].split()
    return Script([json.dumps({"tokens": list(range(len(words)))}).encode()])


def props(image: bool = False, audio: bool = False, n_ctx: int = N_CTX) -> Script:
    value = {"default_generation_settings": {"n_ctx": n_ctx}, "modalities": {"vision": image, "audio": audio}}
    return Script([json.dumps(value).encode()])


Start = Callable[..., Any]
Route = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass
class Site:
    """A server for one test."""

    keys: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=lambda: dict(ABOUT))
    status: dict[str, Any] = field(default_factory=dict)
    """What the status says beside what the engine knows."""
    extract: Callable[[bytes], tuple[int, dict[str, Any]]] = lambda _: (200, {})
    prefix: str = ""
    engine: FakeEngine = field(default_factory=FakeEngine)
    seen: list[str] = field(default_factory=list)
    """Every request, as METHOD PATH."""

    def __post_init__(self) -> None:
        self.port = 0
        self.quitted = threading.Event()
        self._closing = threading.Event()
        self._server: Server | None = None
        self.engine.on("POST", "/tokenize", tokenize)
        self.engine.on("GET", "/props", props())
        self.answer(talk(["Hello", " there", "."]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}/"

    def answer(self, *scripts: Script) -> None:
        """Answer chats by ``scripts``, one after the other, the last one again and again."""
        rest = list(scripts)
        self.engine.on("POST", "/v1/chat/completions", lambda _: rest.pop(0) if len(rest) > 1 else rest[0])

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chats that were asked for."""
        return [json.loads(one.body) for one in self.engine.requests if one.path == "/v1/chat/completions"]

    def start(self) -> None:
        settings = ServerSettings(api_keys=self.keys, api_prefix=self.prefix)
        app = create_app(self.engine, settings, About("tiny", "Tiny model", "Be brief.", "0.1.0"))
        self._closing.clear()
        self._server = open_server(lambda environ, start: self._serve(app, environ, start), settings, self.port)
        self._server.start()
        self.port = self._server.port

    def stop(self) -> None:
        if self._server is not None:
            self._closing.set()
            for call in self.engine.calls:
                call.cancel()
            self._server.stop(0.2)
            self._server = None

    def _serve(self, app: Any, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(self.prefix)
        self.seen.append(f"{method} {path}")
        routes: dict[str, Route] = {
            "GET /solofile/status": self._status,
            "GET /solofile/about": self._about,
            "GET /solofile/events": self._events,
            "POST /solofile/model": self._change,
            "POST /solofile/quit": self._quit,
            "POST /solofile/extract": self._extract,
        }
        route = routes.get(f"{method} {path}")
        answer: Iterable[bytes] = app(environ, start) if route is None else route(environ, start)
        return answer

    def _status(self, _environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        state = self.engine.state()
        name = self.about.get("title", "Tiny model")
        return _json(
            start,
            200,
            {"phase": state.phase, "progress": state.progress, "message": state.message, "name": name} | self.status,
        )

    def _about(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if self.keys and environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ") not in self.keys:
            return _json(start, 401, {"error": {"message": "Invalid API Key"}})
        return _json(start, 200, self.about)

    def _events(self, _environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/event-stream")])

        def body() -> Iterator[bytes]:
            yield b"event: state\ndata: " + json.dumps({"phase": self.engine.state().phase}).encode() + b"\n\n"
            while not self._closing.wait(0.05):
                pass

        return body()

    def _quit(self, _environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        self.quitted.set()
        start("204 No Content", [])
        return []

    def _change(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Another model, which loads for a moment."""
        model = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["model"]
        self.about = {**self.about, "model": model}
        self.engine.become("loading")
        threading.Timer(0.5, self.engine.become, ["ready"]).start()
        return _json(start, 202, {"model": model})

    def _extract(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        return _json(start, *self.extract(body))


def _json(start: Start, status: int, value: Any) -> Iterable[bytes]:
    body = json.dumps(value).encode()
    start(f"{status} Answer", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
