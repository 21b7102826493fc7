"""Run as a program: the life of one engine, from what is asked before it starts; prints JSON of what happened.

Arguments: native_dir, JSON of a job: {"member": {"name", "file", "offset", "size"}, "variant", "options":
[llama-server's], "calibrate": spec or null, "read_first": bool}, and the name of what is to be done. Each of these
functions takes the job.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from solofile.runtime.engine import LlamaEngine, Member, estimate, prepare, resident
from solofile.runtime.engine_api import Request


class Job(NamedTuple):
    native_dir: Path
    member: Member
    variant: str
    options: list[str]
    calibrate: dict[str, Any] | None
    read_first: bool

    @property
    def arguments(self) -> list[str]:
        return ["-m", self.member.name, *self.options]

    @property
    def backends(self) -> list[Path]:
        return [self.native_dir / f"libggml-cpu-{self.variant}.so"]

    def library(self) -> ctypes.CDLL:
        return prepare(self.native_dir, self.backends, [self.member])

    def start(self, *extra: str, level: int = 0, stored_prompts: bool = False) -> LlamaEngine:
        return LlamaEngine.start(
            self.native_dir, self.backends, [*self.arguments, *extra], [self.member], level,
            read_first=[self.member.name] if self.read_first else [],
            calibrate=json.dumps(self.calibrate) if self.calibrate else "", stored_prompts=stored_prompts,
        )  # fmt: skip


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def post(engine: LlamaEngine, path: str, **body: object) -> Any:
    return json.loads(b"".join(engine.call(Request("POST", path, body=json.dumps(body).encode())).run()))


def get(engine: LlamaEngine, path: str) -> int:
    response = engine.call(Request("GET", path)).run()
    list(response)
    return response.status


def answer(engine: LlamaEngine, **options: object) -> dict[str, Any]:
    found = post(engine, "/completion", **{"prompt": "the thing", "n_predict": 12, "temperature": 0, **options})
    assert isinstance(found, dict)
    return found


def computing(work: Callable[[], object]) -> int:
    """How many threads of this process computed during ``work``: had a third of what the busiest had."""

    def ticks() -> dict[str, int]:
        found = {}
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208
            fields = Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()
            found[task] = int(fields[11]) + int(fields[12])
        return found

    before = ticks()
    work()
    spent = [count - before.get(task, 0) for task, count in ticks().items()]
    return sum(3 * count > max(spent) for count in spent)


def calibrated(job: Job) -> dict[str, Any]:
    """A calibration, its answer, and an answer after one that was not asked for."""
    engine = job.start()
    ready = engine.wait(60)
    assert ready.phase == "ready", ready
    wait_for(lambda: job.calibrate is None or engine.calibration() is not None)
    embeds = "--embeddings" in job.options
    said = post(engine, "/embeddings", content="the thing") if embeds else answer(engine)
    busy = 0 if embeds else computing(lambda: answer(engine, n_predict=60, ignore_eos=True))
    found = {
        "phase": ready.phase,
        "calibration": engine.calibration(),
        "said": said if embeds else said["content"],
        "cached": 0 if embeds else said["timings"]["cache_n"],
        "computing": busy,
    }
    engine.stop(10)
    return found


def crowded(job: Job) -> dict[str, Any]:
    """The same where all threads have to share one CPU."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return calibrated(job)


def asleep(job: Job) -> dict[str, Any]:
    """Threads at work after the model was given up for a while and loaded again."""
    engine = job.start("--sleep-idle-seconds", "1")
    wait_for(lambda: engine.calibration() is not None)
    answer(engine)
    time.sleep(2.5)
    before = threading.active_count()
    answer(engine)
    found = {
        "calibration": engine.calibration(),
        "computing": computing(lambda: answer(engine, n_predict=60, ignore_eos=True)),
        "python": before,
    }
    engine.stop(10)
    return found


def interrupted(job: Job) -> dict[str, Any]:
    """Requests in the middle of a calibration: such that need no model, then one that does."""
    engine = job.start()
    engine.wait(60)
    wait_for(lambda: engine.busy() > 0)
    statuses = [get(engine, path) for path in ("/health", "/props", "/v1/models")]
    before = engine.calibration()
    begin = time.monotonic()
    said = answer(engine)["content"]
    seconds = time.monotonic() - begin
    begin = time.monotonic()
    again = answer(engine, cache_prompt=False)["content"]
    found = {
        "statuses": statuses,
        "before": before,
        "calibration": engine.calibration(),
        "said": [said, again],
        "seconds": seconds,
        "alone": time.monotonic() - begin,
    }
    engine.stop(10)
    return found


def stopped(job: Job) -> dict[str, Any]:
    """A stop in the middle of a calibration, or of the reading before the load."""
    engine = job.start()
    wait_for(lambda: engine.reading() if job.read_first else engine.busy() > 0)
    begin = time.monotonic()
    engine.stop(10)
    done = {"seconds": time.monotonic() - begin, "phase": engine.state().phase, "reading": engine.reading()}
    return done | {"resident": resident(job.library(), job.member.name)}


def watched(job: Job) -> dict[str, Any]:
    """What `busy` says during a long prompt, and after it."""
    engine = job.start()
    engine.wait(60)
    idle = engine.busy()
    seen = []
    reader = threading.Thread(target=lambda: answer(engine, prompt="t " * 64, n_predict=1))
    reader.start()
    while reader.is_alive():
        seen.append(engine.busy())
        time.sleep(0.005)
    reader.join()
    found = {"idle": idle, "most": max(seen), "samples": len(seen), "after": engine.busy()}
    engine.stop(10)
    return found


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(job: Job) -> dict[str, Any]:
    """A start from a file that is not in memory: how the reading went, and what it left there."""
    library = job.library()
    forget(job.member.file)
    found: dict[str, Any] = {"before": resident(library, job.member.name)}
    read_before = read_bytes()
    engine = job.start()
    samples = []
    while True:
        earlier, state = resident(library, job.member.name), engine.state()
        reading = engine.reading()
        if reading is None:
            break
        facts = (state.phase, state.progress, state.message)
        samples.append([*reading, earlier, resident(library, job.member.name), *facts])
    found |= {"samples": samples, "read": resident(library, job.member.name), "from_medium": read_bytes() - read_before}
    found["phase"] = engine.wait(60).phase
    answer(engine)
    found["later_from_medium"] = read_bytes() - read_before - found["from_medium"]
    engine.stop(10)
    whole = Member("whole", job.member.file, 0, job.member.file.stat().st_size)
    found["of_file"] = resident(prepare(job.native_dir, [], [whole]), "whole")
    return found


def read_bytes() -> int:
    """Bytes that this process had the media read."""
    return int(Path("/proc/self/io").read_text().partition("\nread_bytes: ")[2].split()[0])


def sampled(job: Job) -> dict[str, Any]:
    """How much of a foreign file is in memory: Linux does not show its pages to those who may not write to it."""
    library = job.library()
    forget(job.member.file)
    os.seteuid(65534)
    none = resident(library, job.member.name)
    half = job.member.offset + job.member.size // 2
    with job.member.file.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(half)
    some = resident(library, job.member.name)
    job.member.file.read_bytes()
    return {"none": none, "half": some, "all": resident(library, job.member.name)}


def estimated(job: Job) -> dict[str, Any]:
    """What is expected, and what the engine then takes: its log, the memory of its own, an answer."""
    library = job.library()
    begin = time.monotonic()
    expected = estimate(library, job.arguments)
    seconds = time.monotonic() - begin
    again = estimate(library, job.arguments)
    private = anonymous()
    engine = job.start("--no-warmup")
    phase = engine.wait(60).phase
    private = anonymous() - private
    said = answer(engine)["content"]
    engine.stop(10)
    return {
        "expected": expected, "again": again, "seconds": seconds, "phase": phase, "private": private, "said": said
    }  # fmt: skip


def prompts(job: Job) -> dict[str, Any]:
    """An engine that is given files of states, whatever is in them: it waits for them, and answers after all."""
    files = [Path(path) for path in os.environ["STATES"].split(":") if path]
    engine = job.start(stored_prompts=True)
    waiting = engine.wait(1).phase
    before = engine.prompts()
    engine.give_prompts(files)
    phase = engine.wait(60).phase
    if files:
        wait_for(lambda: engine.prompts() is not None)
    said, outcome = answer(engine), engine.prompts()
    engine.stop(10)
    return {"waiting": waiting, "before": before, "phase": phase, "said": said["content"], "outcome": outcome}


def logged(job: Job) -> dict[str, Any]:
    """A start with all of llama.cpp's messages."""
    engine = job.start("-lv", "5", level=5)
    engine.wait(60)
    engine.stop(10)
    return {}


def anonymous() -> int:
    """Bytes of memory that belong to no file."""
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) * 1024


def main() -> None:
    native_dir, text, scenario = sys.argv[1:]
    job = json.loads(text)
    member = Member(job["member"]["name"], Path(job["member"]["file"]), job["member"]["offset"], job["member"]["size"])
    print(json.dumps(globals()[scenario](Job(Path(native_dir), member, *(job[key] for key in Job._fields[2:])))))


if __name__ == "__main__":
    main()
