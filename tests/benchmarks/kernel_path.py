"""The chosen kernel path against every other one, and against llama-server with its defaults.

    python tests/benchmarks/kernel_path.py --bundle smollm2.exe --model smollm2.gguf --reference …/llama-server

Once with a bundle of each kind of model: what is repacked differs. For a quantization made of the demo's model:

    …/llama-quantize --allow-requantize smollm2.gguf q4_k_m.gguf Q4_K_M && solofile build q4_k_m.gguf

The bundle runs as it comes, and forced to each CPU variant that it holds and this CPU can run, with each number of
threads, its weights repacked and as they are. All servers run at once and are asked in turn, a prompt and an answer of
a fixed number of tokens. First a sweep, in which what is far behind is measured once; then the bundle, the best of the
sweep and llama-server alone, with more runs, so that a lucky run in the sweep is no verdict. Tokens a second, median
(min … max); ratios pair by pair.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

from measure import CALM, Sample, Server, arguments, ratios, running
from solofile.runtime import hardware, kernels
from solofile.runtime.container import Bundle

HOPELESS = 0.75
"""Of the best in the first runs: what is slower than this with prompts and with answers is not asked again."""

FIRST = 2
LAST = 2
"""Runs of the first sort; the best of each kind that meet in the end."""

TEXT = (
    "The harbour lay still under a thin layer of fog, and the first boats were no more than a sound of engines. " * 40
)
KINDS = ("prompt", "answer")
COMMON = ["-c", "1024", "-np", "1"]


class Contender:
    """One server, and its speeds by kind: prompt, answer."""

    def __init__(self, name: str, command: Sequence[str], log: Path | None = None) -> None:
        self.name = name
        self.server = Server(command, log=log)
        self.speeds: dict[str, list[float]] = {"prompt": [], "answer": []}

    def ask(self, text: Sequence[int], answer: int) -> None:
        body = {
            "prompt": list(text), "n_predict": answer, "temperature": 0, "repeat_penalty": 1.0, "dry_multiplier": 0,
            "cache_prompt": False, "ignore_eos": True,
        }  # fmt: skip
        begin = time.perf_counter()
        marks = [(time.perf_counter(), event["tokens_predicted"]) for event in self.server.events("/completion", body)]
        (first, had), (last, made) = marks[0], marks[-1]
        self.speeds["prompt"].append(len(text) / (first - begin))
        self.speeds["answer"].append((made - had) / (last - first))

    def median(self, kind: str) -> float:
        return Sample(tuple(self.speeds[kind])).median

    def tokens(self, text: str) -> list[int]:
        data = json.dumps({"content": text}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/tokenize", data, headers)
        with urllib.request.urlopen(request) as answer:
            found: list[int] = json.load(answer)["tokens"]
        return found


def usable_variants(bundle: Path) -> list[str]:
    machine = hardware.detect()
    with Bundle.open(bundle) as opened:
        held = opened.manifest.targets[machine.target].kernels
    return [name for name in held if not kernels.missing(name, machine.features)]


def forced(bundle: Path, variants: Iterable[str]) -> dict[str, list[str]]:
    """The command of every path by its name."""
    cpus = len(os.sched_getaffinity(0))
    threads = sorted({1 << power for power in range(cpus.bit_length()) if 1 << power <= cpus} | {cpus})
    return {
        f"{variant} -t {count} {repack}": [
            str(bundle), "--server", *COMMON, "--no-calibrate", "--gpu", "none",
            "--kernel", variant, "-t", str(count), "-tb", str(count), repack,
        ]
        for variant, count, repack in itertools.product(variants, threads, ("--repack", "--no-repack"))
    }  # fmt: skip


def rounds(contenders: Sequence[Contender], text: Sequence[int], options: argparse.Namespace, count: int) -> None:
    """Ask all in turn, ``count`` times, each time beginning with another one and a prompt that was not seen."""
    for number in range(count):
        shift = number % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            time.sleep(CALM)
            contender.ask(text[number : number + options.prompt], options.answer)


def promising(contenders: Sequence[Contender]) -> list[Contender]:
    """Those that are near the best; the fastest run counts, which a disturbance cannot make."""
    best = {kind: max(max(one.speeds[kind]) for one in contenders) for kind in KINDS}
    return [one for one in contenders if any(max(one.speeds[kind]) > HOPELESS * best[kind] for kind in KINDS)]


def show(contenders: Iterable[Contender]) -> None:
    for one in contenders:
        print(f"{one.name:34} {Sample(tuple(one.speeds['prompt']))!s:>34} {Sample(tuple(one.speeds['answer']))!s:>34}")


def main() -> None:
    parser = arguments(__doc__, runs=11, help_runs="runs of the last ones")
    parser.add_argument("--sweep", type=int, default=4, help="runs of what is near the best in the sweep")
    parser.add_argument("--prompt", type=int, default=256, help="tokens")
    parser.add_argument("--answer", type=int, default=64, help="tokens")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds that the bundle gets to calibrate")
    options = parser.parse_args()
    bundle = options.bundle.resolve()
    with contextlib.ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
        commands = forced(bundle, usable_variants(bundle))

        def start(name: str, command: Sequence[str], log: Path | None = None) -> Contender:
            contender = Contender(name, command, log)
            stack.callback(contender.server.stop)
            contender.server.wait_healthy()
            return contender

        with running([bundle, "--server", *COMMON]):
            time.sleep(options.settle)
        ours = start("bundle", [str(bundle), "--server", *COMMON], log)
        theirs = start("llama-server", [str(options.reference), "-m", str(options.model), *COMMON])
        paths = [start(name, command) for name, command in commands.items()]
        print(log.read_text().strip())
        text = ours.tokens(TEXT)
        for contender in (ours, theirs, *paths):
            contender.ask(text[:16], 8)
            contender.speeds = {"prompt": [], "answer": []}
        rounds(paths, text, options, FIRST)
        rounds(promising(paths), text[FIRST:], options, options.sweep - FIRST)
        print(f"{f'sweep: {len(paths)} paths, tokens/s':34} {'prompt':>34} {'answer':>34}")
        show(sorted(paths, key=lambda one: -one.median("answer")))
        best = {kind: sorted(paths, key=lambda one, kind=kind: -one.median(kind))[:LAST] for kind in KINDS}
        last = list(dict.fromkeys([ours, theirs, *itertools.chain(*best.values())]))
        for contender in last:
            contender.speeds = {"prompt": [], "answer": []}
        rounds(last, text, options, options.n)
        print(f"{f'{options.n} runs more, tokens/s':34} {'prompt':>34} {'answer':>34}")
        show(last)
        for kind in KINDS:
            for other in (max(best[kind], key=lambda one, kind=kind: one.median(kind)), theirs):
                ratio = ratios(ours.speeds[kind], other.speeds[kind])
                print(f"ratio {kind:7} to {other.name:25} {ratio}", flush=True)


if __name__ == "__main__":
    main()
