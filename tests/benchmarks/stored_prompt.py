"""What a stored prompt saves, the bytes that it takes, and what compression and a quantized cache take off these.

    python tests/benchmarks/stored_prompt.py -n 5

Builds two bundles of the demo's model with a system prompt of about 1,500 tokens, one with a KV cache of 16-bit floats
and one of q8_0, and the same without the stored state. Then pairs, interleaved: a server that is loaded, and from its
first request to the first token.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from measure import Sample, Server, ratios

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from solofile.runtime.container import Bundle
from stored_text import system_prompt

SOLOFILE = [sys.executable, "-c", "import sys; from solofile.builder.cli import main; sys.exit(main())"]
KINDS = {"f16": "", "q8_0": "-ctk q8_0 -ctv q8_0"}


def build(folder: Path, kind: str, kernels: str) -> tuple[Path, Path]:
    """A bundle with the state, and the same without it."""
    text = folder / "system.txt"
    text.write_text(system_prompt())
    stored, plain = folder / f"{kind}.exe", folder / f"{kind}-plain.exe"
    words = ["build", "smollm2-135m.toml", "--kernels", kernels, "--system-prompt", f"@{text}", "--args", KINDS[kind]]
    subprocess.run([*SOLOFILE, *words, "-o", str(stored)], check=True)
    subprocess.run([*SOLOFILE, "set", str(stored), "--no-stored-prompt", "-o", str(plain)], check=True)
    return stored, plain


def seconds_to_token(bundle: Path, system: str, environment: dict[str, str]) -> float:
    """From the first request on a loaded server to its first token."""
    server = Server([str(bundle), "--server", "--no-calibrate"], environment)
    try:
        server.wait_healthy()
        time.sleep(0.5)
        turns = [{"role": "system", "content": system}, {"role": "user", "content": "Where is the pool?"}]
        started = time.perf_counter()
        for event in server.events("/v1/chat/completions", {"messages": turns, "max_tokens": 4, "temperature": 0}):
            if event["choices"][0]["delta"].get("content"):
                return time.perf_counter() - started
    finally:
        server.stop()
    raise RuntimeError("no text came")


def show_sizes(kind: str, stored: Path, plain: Path) -> None:
    """The state's bytes, what the bundle grew by, and what deflate would leave at which speeds."""
    with Bundle.open(stored) as bundle:
        [prompt] = bundle.manifest.prompts
        state = bundle.read(prompt.path)
    grown = stored.stat().st_size - plain.stat().st_size
    print(f"{kind}: {prompt.tokens} tokens, state {len(state):,} bytes, bundle grown by {grown:,} bytes")
    begin = time.perf_counter()
    packed = zlib.compress(state, 6)
    middle = time.perf_counter()
    zlib.decompress(packed)
    end = time.perf_counter()
    rates = [len(state) / 1e6 / seconds for seconds in (middle - begin, end - middle)]
    share = 100 * len(packed) / len(state)
    print(f"{kind}: deflate leaves {share:.1f} %, at {rates[0]:.0f} MB/s, undone at {rates[1]:.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="pairs")
    parser.add_argument("--kernels", default="host")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        bundles = {kind: build(Path(place), kind, options.kernels) for kind in KINDS}
        for kind, (stored, plain) in bundles.items():
            show_sizes(kind, stored, plain)
        stored, plain = bundles["f16"]
        environment = {**os.environ, "SOLOFILE_CACHE": f"{place}/cache"}
        system = system_prompt()
        for bundle in (stored, plain):  # fills the cache
            subprocess.run([str(bundle), "-p", "Hi", "-n", "1"], check=True, capture_output=True, env=environment)
        ours, theirs = [], []
        for _ in range(options.n):
            ours.append(seconds_to_token(stored, system, environment))
            theirs.append(seconds_to_token(plain, system, environment))
    print(f"{'':24} seconds, median (min … max) of {options.n}")
    print(f"{'with the stored prompt':24} {Sample(tuple(ours))}")
    print(f"{'without':24} {Sample(tuple(theirs))}")
    print(f"{'ratio':24} {ratios(ours, theirs)}")


if __name__ == "__main__":
    main()
