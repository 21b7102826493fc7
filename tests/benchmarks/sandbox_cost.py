"""What the sandbox adds to a start and to an answer: the same bundle with it and with --no-sandbox.

    python tests/benchmarks/sandbox_cost.py --bundle smollm2.exe

Interleaved runs on a warm page cache; seconds, median (min … max); differences and ratios pair by pair.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from measure import Sample, Server, ratios, running
from start import PROMPT, seconds_to_first_byte

BODY = {"prompt": "Tell me a story about a lighthouse.", "temperature": 0, "ignore_eos": True, "n_predict": 128}


def health(command: list[str], environment: dict[str, str]) -> float:
    server = Server(command, environment)
    try:
        return server.wait_healthy()
    finally:
        server.stop()


def tokens_a_second(server: Server) -> float:
    last: dict[str, float] = {}
    for event in server.events("/completion", BODY):
        last = event.get("timings", last)
    return last["predicted_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("-n", type=int, default=9, help="runs of each")
    options = parser.parse_args()
    bundle = str(options.bundle.resolve())
    ways: dict[str, list[str]] = {"with": [], "without": ["--no-sandbox"]}
    starts: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[float]] = {name: [] for name in ways}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "SOLOFILE_CACHE": cache}
        seconds_to_first_byte([bundle, "-p", PROMPT, "-n", "4"], environment)  # fills the cache
        for _ in range(options.n):
            for name, words in ways.items():
                starts[name].append(health([bundle, "--server", *words], environment))
                answers[name].append(seconds_to_first_byte([bundle, "-p", PROMPT, "-n", "8", *words], environment))
        servers = [running([bundle, "--server", *words], environment) for words in ways.values()]
        with servers[0] as one, servers[1] as other:
            for _ in range(options.n):
                speeds["with"].append(tokens_a_second(one))
                speeds["without"].append(tokens_a_second(other))
    for label, found in (("/health ok, s", starts), ("first text of -p, s", answers), ("tokens/s", speeds)):
        for name, values in found.items():
            print(f"{label:22} {name:8} {Sample(tuple(values))}")
        more = Sample(tuple(a - b for a, b in zip(found["with"], found["without"], strict=True)))
        print(f"{label:22} {'more':8} {more}   ratio {ratios(found['with'], found['without'])}")


if __name__ == "__main__":
    main()
