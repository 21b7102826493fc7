"""How long a bundle takes to be there, against llama-server from the same source with the plain GGUF.

    python tests/benchmarks/start.py --bundle smollm2.exe --model smollm2.gguf --reference …/llama-server

Interleaved runs on a warm page cache; seconds, median (min … max); ratios pair by pair.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time

from measure import Sample, Server, arguments, ratios

PROMPT = "What is the capital of France?"
CHAT = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "temperature": 0}


def seconds_to_health(command: list[str], environment: dict[str, str]) -> float:
    server = Server(command, environment)
    try:
        return server.wait_healthy()
    finally:
        server.stop()


def seconds_to_token_over_http(command: list[str]) -> float:
    """From the start of the process to the first piece of text over HTTP."""
    server = Server(command)
    try:
        server.wait_healthy()
        for event in server.events("/v1/chat/completions", CHAT):
            if event["choices"][0]["delta"].get("content"):
                return time.perf_counter() - server.started
    finally:
        server.stop()
    raise RuntimeError("no text came")


def seconds_to_first_byte(command: list[str], environment: dict[str, str]) -> float:
    """From the start of the process to the first byte on its standard output."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not first:
        raise RuntimeError(f"{command[0]} printed nothing")
    return seconds


def main() -> None:
    parser = arguments(__doc__, runs=9)
    options = parser.parse_args()
    bundle = str(options.bundle.resolve())
    reference = [str(options.reference), "-m", str(options.model)]

    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "SOLOFILE_CACHE": f"{cache}/warm"}
        seconds_to_first_byte([bundle, "-p", PROMPT, "-n", "4"], environment)  # fills the cache
        seconds_to_health(reference, dict(os.environ))
        ours, theirs, our_token, their_token, first, warm = ([] for _ in range(6))
        for run in range(options.n):
            ours.append(seconds_to_health([bundle, "--server"], environment))
            theirs.append(seconds_to_health(reference, dict(os.environ)))
            our_token.append(seconds_to_first_byte([bundle, "-p", PROMPT, "-n", "8", "--temp", "0"], environment))
            their_token.append(seconds_to_token_over_http(reference))
            empty = {**os.environ, "SOLOFILE_CACHE": f"{cache}/{run}"}
            first.append(seconds_to_health([bundle, "--server"], empty))
            warm.append(seconds_to_health([bundle, "--server"], environment))
    print(f"{'':34} seconds, median (min … max) of {options.n}")
    for label, values in [
        ("bundle: /health ok, warm", ours),
        ("llama-server: /health ok", theirs),
        ("bundle -p: first text, warm", our_token),
        ("llama-server: first text", their_token),
        ("bundle: /health ok, empty cache", first),
    ]:
        print(f"{label:34} {Sample(tuple(values))}")
    print(f"{'ratio /health':34} {ratios(ours, theirs)}")
    print(f"{'ratio first text':34} {ratios(our_token, their_token)}")
    extra = Sample(tuple(a - b for a, b in zip(first, warm, strict=True)))
    print(f"{'first start, more than warm':34} {extra}")


if __name__ == "__main__":
    main()
