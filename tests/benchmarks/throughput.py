"""Prompt and decode speed over HTTP, against llama-server from the same source with the plain GGUF.

    python tests/benchmarks/throughput.py --bundle smollm2.exe --model smollm2.gguf --reference …/llama-server

Both servers run; the requests go to one and the other in turn, so that a slow moment of the machine meets both. Tokens
per second of wall time as a client sees them: decode from the first piece of text to the last over all streams, prompt
from the request to the first piece. Median (min … max); ratios pair by pair.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from measure import Sample, Server, arguments, ratios, running

# What a request does not say, the demo's bundle decides otherwise than llama-server does.
SAMPLING = {"temperature": 0, "repeat_penalty": 1.0, "dry_multiplier": 0, "cache_prompt": False}


def stream(server: Server, body: dict[str, Any], times: list[float]) -> None:
    """Reads one answer; notes when each piece came."""
    for event in server.events("/completion", body):
        if event.get("content"):
            times.append(time.perf_counter())


def decode_speed(server: Server, streams: int, tokens: int) -> float:
    body = {"prompt": "Once upon a time", "n_predict": tokens, "ignore_eos": True, **SAMPLING}
    all_times: list[list[float]] = [[] for _ in range(streams)]
    threads = [threading.Thread(target=stream, args=(server, body, times)) for times in all_times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pieces = sum(len(times) - 1 for times in all_times)
    return pieces / (max(times[-1] for times in all_times) - min(times[0] for times in all_times))


def prompt_speed(server: Server, streams: int, words: int, run: int) -> float:
    """A prompt that was not seen before, one token of answer."""
    done: list[tuple[float, int]] = []

    def ask(i: int) -> None:
        text = f"Run {run}, reader {i}: " + "the quick brown fox jumps over the lazy dog and " * (words // 10)
        body = {"prompt": text, "n_predict": 1, **SAMPLING}
        for event in server.events("/completion", body):
            if event.get("stop"):
                done.append((time.perf_counter(), event["tokens_evaluated"]))

    started = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(tokens for _, tokens in done) / (max(at for at, _ in done) - started)


def main() -> None:
    parser = arguments(__doc__, runs=7)
    parser.add_argument("--tokens", type=int, default=128, help="decoded tokens a stream")
    parser.add_argument("--words", type=int, default=400, help="words of a prompt")
    options = parser.parse_args()
    common = ["-np", "8", "-c", "8192"]
    bundle = [options.bundle.resolve(), "--server", *common]
    reference = [options.reference, "-m", options.model, *common]
    with running(bundle) as ours, running(reference) as theirs:
        print(f"{'tokens/s':16} {'bundle':>28} {'llama-server':>28} {'ratio':>28}")
        for kind in ("decode", "prompt"):
            for streams in (1, 8):
                mine, other = [], []
                for run in range(-1, options.n):  # the first pair warms up and does not count
                    for server, values in ((ours, mine), (theirs, other)):
                        if kind == "decode":
                            speed = decode_speed(server, streams, options.tokens)
                        else:
                            speed = prompt_speed(server, streams, options.words // streams * 2, run)
                        if run >= 0:
                            values.append(speed)
                label = f"{kind}, {streams} stream{'s' if streams > 1 else ''}"
                figures = (Sample(tuple(mine)), Sample(tuple(other)), ratios(mine, other))
                print(f"{label:16}", *(f"{figure!s:>28}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
