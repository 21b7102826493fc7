"""What `/metrics` tells beside llama.cpp's own figures (``llamacpp:…``), which are passed on under their names."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime.engine_api import Request
from solofile.runtime.errors import SolofileError
from solofile.runtime.exposition import Counter, Gauge, Histogram, Labels, Metric

if TYPE_CHECKING:
    from solofile.runtime.admission import Admission
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.visit import Visit

_LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
_SHORT = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

CORE_SECONDS = 2.0
"""How long the core may take to tell its figures; while it computes a batch it tells nothing."""


class Metrics:
    """The figures of one server."""

    def __init__(self, admission: Admission, version: str = "", model: str = "") -> None:
        """All at zero."""
        self.requests = Counter(
            "solofile_requests_total", "Requests answered, by route and status.", ("route", "status")
        )
        self.refused = Counter(
            "solofile_refused_total", "Requests refused by the queue, a key's limits or the end.", ("reason",)
        )
        self.cut = Counter(
            "solofile_answers_cut_total", "Answers that did not come to their end: gone, time or broken.", ("end",)
        )
        self.key_requests = Counter("solofile_key_requests_total", "Requests by the name of the key.", ("key",))
        self.key_tokens = Counter("solofile_key_tokens_total", "Tokens by the name of the key.", ("key",))
        self.prompt = Counter("solofile_prompt_tokens_total", "Tokens of prompts that were computed.")
        self.cached = Counter("solofile_cached_tokens_total", "Tokens of prompts that the prompt cache had.")
        self.completion = Counter("solofile_completion_tokens_total", "Tokens of answers.")
        self.seconds = Histogram("solofile_answer_seconds", "Seconds from a request to the end of its answer.", _LONG)
        self.first = Histogram("solofile_first_token_seconds", "Seconds to the first piece of a stream.", _LONG)
        self.between = Histogram("solofile_between_tokens_seconds", "Seconds between pieces of a stream.", _SHORT)
        self.log_failures = Counter("solofile_access_log_failures_total", "Lines that the access log could not take.")
        self.spans_dropped = Counter("solofile_spans_dropped_total", "Traces that could not be handed on.")
        begin = time.time()
        facts: dict[Labels, float] = {(version, model): 1.0}
        self._all: list[Metric] = [
            Gauge("solofile_build_info", "What runs here.", lambda: facts, ("version", "model")),
            Gauge("solofile_slots", "Answers that can be computed at once.", lambda: admission.slots),
            Gauge("solofile_requests_running", "Requests that have a slot.", lambda: admission.running),
            Gauge("solofile_requests_waiting", "Requests that wait for a slot.", lambda: admission.waiting),
            Gauge("solofile_queue_limit", "Requests that may wait (--queue).", lambda: admission.queue),
            Gauge("solofile_memory_bytes", "Memory of this process, by kind.", memory, ("kind",)),
            Gauge("solofile_threads", "Threads of Python.", threading.active_count),
            Gauge("solofile_open_files", "Open files and connections.", open_files),
            Gauge("solofile_started_after_crash", "1 where the launcher had to start this process anew.", crashed),
            Gauge("process_start_time_seconds", "When this process began, in seconds since 1970.", lambda: begin),
            self.requests, self.refused, self.cut, self.key_requests, self.key_tokens, self.prompt, self.cached,
            self.completion, self.seconds, self.first, self.between, self.log_failures, self.spans_dropped,
        ]  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Every name."""
        return [metric.name for metric in self._all]

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        return "".join(metric.text() for metric in self._all)

    def count(self, visit: Visit) -> None:
        """A request has ended."""
        self.requests.add(1, visit.route or "none", str(visit.status))
        if visit.key.name:
            self.key_requests.add(1, visit.key.name)
        if visit.refused:
            self.refused.add(1, visit.refused)
        if visit.end != "whole":
            self.cut.add(1, visit.end)
        if not visit.generates or visit.ticket is None:
            return
        self.seconds.add(visit.seconds)
        if visit.first is not None:
            self.first.add(visit.first)
        self.between.add(*visit.gaps)
        self.prompt.add(visit.usage.prompt)
        self.cached.add(visit.usage.cached)
        self.completion.add(visit.usage.completion)
        if visit.key.name:
            self.key_tokens.add(visit.usage.total, visit.key.name)


class CoreFigures:
    """llama.cpp's own figures, asked for on a thread, since the core answers between two batches only."""

    def __init__(self, engine: Engine) -> None:
        """Of ``engine``."""
        self._engine = engine
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._text = ""

    def text(self, seconds: float = CORE_SECONDS) -> str:
        """The figures, or those of last time where the core has not answered within ``seconds``."""
        if self._engine.state().phase != "ready":
            return ""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._ask, name="solofile-metrics", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(seconds)
        return self._text

    def _ask(self) -> None:
        try:
            answer = self._engine.call(Request("GET", "/metrics")).run()
        except SolofileError:
            return  # the engine has just ended; the rest of the figures says so
        body = b"".join(answer)
        if answer.status == 200:
            self._text = body.decode("utf-8", "replace")


def memory() -> dict[Labels, float]:
    """Bytes of this process: what is its own, and what of files (the model's weights) is in its memory."""
    found: dict[Labels, float] = {}
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return found
    kinds = {"RssAnon": "anonymous", "RssFile": "file", "VmSwap": "swap"}
    for line in lines:
        name, _, value = line.partition(":")
        if name in kinds:
            found[(kinds[name],)] = int(value.split()[0]) * 1024
    return found


def open_files() -> float:
    """Open file descriptors; 0 where the system does not list them."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if sys.platform == "linux" and folder.is_dir() else 0


def crashed() -> float:
    """Has the launcher started this process after a crash?"""
    return float("SOLOFILE_CRASH" in os.environ)
