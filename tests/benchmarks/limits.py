"""Decode speed where little is allowed, one CPU of several or half a CPU, against llama-server and the best of threads.

    python tests/benchmarks/limits.py --bundle smollm2.exe --model smollm2.gguf --reference …/llama-server

Needs root (control groups). For each limit the bundle as it comes, the bundle with each number of threads, and
llama-server with its defaults run at once and are asked in turn. Each is in a group of its own, so that they do not
share the limit. Tokens a second, median (min … max); ratios pair by pair.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Sequence

from cgroups import cpu_quota
from measure import CALM, Sample, Server, arguments, ratios

PROMPT = "Once upon a time"
SAMPLING = {"temperature": 0, "repeat_penalty": 1.0, "dry_multiplier": 0, "cache_prompt": False, "ignore_eos": True}
Limit = Callable[[contextlib.ExitStack, Sequence[str]], list[str]]


def one_cpu(_: contextlib.ExitStack, command: Sequence[str]) -> list[str]:
    """The first CPU that this process may use."""
    return ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]


def half_a_cpu(stack: contextlib.ExitStack, command: Sequence[str]) -> list[str]:
    """A control group of its own with half a CPU."""
    return stack.enter_context(cpu_quota(0.5)).command(command)


def decode_speed(server: Server, tokens: int) -> float:
    """Tokens a second from the first to the last."""
    times = [
        time.perf_counter()
        for event in server.events("/completion", {"prompt": PROMPT, "n_predict": tokens, **SAMPLING})
        if not event.get("stop")
    ]
    return (len(times) - 1) / (times[-1] - times[0])


def start(stack: contextlib.ExitStack, limit: Limit, command: Sequence[str]) -> Server:
    server = Server(limit(stack, command))
    stack.callback(server.stop)
    server.wait_healthy(180.0)
    return server


def measure(limit: Limit, options: argparse.Namespace, threads: Sequence[int]) -> None:
    common = ["-c", "1024", "-np", "1"]
    bundle = [str(options.bundle.resolve()), "--server", *common]
    commands = {
        "bundle": bundle,
        **{f"bundle -t {count}": [*bundle, "-t", str(count), "--no-calibrate"] for count in threads},
        "llama-server": [str(options.reference), "-m", str(options.model), *common],
    }
    speeds: dict[str, list[float]] = {name: [] for name in commands}
    with contextlib.ExitStack() as stack:
        servers = {name: start(stack, limit, command) for name, command in commands.items()}
        time.sleep(options.settle)
        slow = {name for name, server in servers.items() if decode_speed(server, options.few) < options.slow}
        for _ in range(options.n):
            for name, server in servers.items():
                time.sleep(CALM)
                # What makes a token in seconds is asked for few of them.
                speeds[name].append(decode_speed(server, options.few if name in slow else options.tokens))
    for name, values in speeds.items():
        print(f"  {name:20} {Sample(tuple(values))}")
    best = max((name for name in speeds if " -t " in name), key=lambda name: Sample(tuple(speeds[name])).median)
    print(f"  {'ratio llama-server':20} {ratios(speeds['bundle'], speeds['llama-server'])}")
    print(f"  {'ratio ' + best.removeprefix('bundle '):20} {ratios(speeds['bundle'], speeds[best])}", flush=True)


def main() -> None:
    parser = arguments(__doc__, runs=5)
    parser.add_argument("--tokens", type=int, default=64, help="decoded tokens of a run")
    parser.add_argument("--few", type=int, default=5, help="the same for what is slower than --slow")
    parser.add_argument("--slow", type=float, default=3.0, help="tokens a second")
    parser.add_argument(
        "--settle", type=float, default=4.0, help="seconds that a calibration gets before the first run"
    )
    options = parser.parse_args()
    cpus = os.cpu_count() or 1
    threads = sorted({count for power in range(cpus.bit_length()) if (count := 1 << power) < cpus} | {cpus})
    for title, limit in (("one CPU (taskset)", one_cpu), ("half a CPU (control group)", half_a_cpu)):
        print(f"{title}: decode, tokens/s, median (min … max) of {options.n}", flush=True)
        measure(limit, options, threads)


if __name__ == "__main__":
    main()
