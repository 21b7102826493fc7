"""The first token from a slow medium, against reading the model once from it.

    python tests/benchmarks/slow_media.py --pack …/pack.zip [--reference …/llama-server]

Needs root: an image in a loop device, mounted read-only, that gives 30 MB/s to a control group (throttled by blkio, or
io of version 2). The model is one of random weights, about 1 GB of them, all of which an answer needs. Its bundle is
made with --pack, which the cache holds beforehand; before each run the image is mounted anew, so that nothing of it is
in the page cache. Seconds, median (min … max); ratios pair by pair:

    read     `dd` of the plain GGUF from its first byte to its last
    bundle   from the start of the process to the first byte of an answer with -p
    llama-server, if given: from its start to the first text over HTTP, with the plain GGUF
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cgroups import Group, read_limit
from measure import Sample, Server, ratios

sys.path[:0] = [str(Path(__file__).parents[1])]
from tiny_model import write_tiny_model  # noqa: E402

QUESTION = "Hello"
CHAT = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "temperature": 0}
WIDTH, LAYER = 2048, 10 * 2048 * 2048 * 4  # bytes of one layer of that width


class Medium:
    """An image with a file system in a loop device; `fresh` mounts it with an empty page cache."""

    def __init__(self, folder: Path, size: int) -> None:
        self.mounted = folder / "medium"
        self.mounted.mkdir()
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(-(-size // 4096) * 4096)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        self.loop = run("losetup", "--find", "--show", image).strip()

    @property
    def device(self) -> int:
        return Path(self.loop).stat().st_rdev

    @contextmanager
    def fresh(self, *options: str) -> Iterator[Path]:
        run("mount", *options, self.loop, self.mounted)
        try:
            yield self.mounted
        finally:
            run("umount", self.mounted)

    def close(self) -> None:
        run("losetup", "--detach", self.loop)


def run(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout


def make_bundle(pack: Path, model: Path, output: Path) -> None:
    program = "import sys; from solofile.builder.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "build", model, "-o", output, "--pack", pack]
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)


def seconds_to_read(group: Group, model: Path) -> float:
    command = group.command(["dd", f"if={model}", "of=/dev/null", "bs=4M"])
    started = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def seconds_to_first_byte(group: Group, bundle: Path, environment: dict[str, str], *, show: bool) -> float:
    command = group.command([bundle, "-p", QUESTION, "-n", "8", "--temp", "0"])
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None if show else subprocess.DEVNULL,
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not first or process.returncode:
        raise RuntimeError(f"the bundle ended with {process.returncode}")
    return seconds


def seconds_over_http(group: Group, server: Path, model: Path) -> float:
    process = Server(group.command([server, "-m", model]))
    try:
        process.wait_healthy(600.0)
        for event in process.events("/v1/chat/completions", CHAT):
            if event["choices"][0]["delta"].get("content"):
                break
        return time.perf_counter() - process.started
    finally:
        process.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--reference", type=Path, help="llama-server")
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes of the model, about")
    parser.add_argument("--speed", type=int, default=30_000_000, help="bytes a second")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; default: the temporary folder")
    parser.add_argument("-n", type=int, default=3, help="runs of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model = write_tiny_model(folder / "slow.gguf", layers=max(1, options.size // LAYER), width=WIDTH)
        bundle = folder / "slow.exe"
        make_bundle(options.pack, model, bundle)
        environment = {**os.environ, "SOLOFILE_CACHE": str(folder / "cache")}
        # Twice: the first start unpacks, and may calibrate for the later ones.
        for _ in range(2):
            subprocess.run([bundle, "-p", QUESTION, "-n", "8"], env=environment, check=True, stdout=subprocess.DEVNULL)
        medium = Medium(folder, bundle.stat().st_size + model.stat().st_size + (256 << 20))
        stack.callback(medium.close)
        with medium.fresh() as mounted:
            run("cp", bundle, model, mounted)
        print(f"a model of {model.stat().st_size / 1e6:.0f} MB, a bundle of {bundle.stat().st_size / 1e6:.0f} MB")
        print(f"at {options.speed / 1e6:.0f} MB/s; seconds, median (min … max) of {options.n}", flush=True)
        group = stack.enter_context(read_limit(medium.device, options.speed))
        read: list[float] = []
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(options.n):
            with medium.fresh("-o", "ro") as mounted:
                read.append(seconds_to_read(group, mounted / model.name))
            with medium.fresh("-o", "ro") as mounted:
                ours.append(seconds_to_first_byte(group, mounted / bundle.name, environment, show=number == 0))
            if options.reference:
                with medium.fresh("-o", "ro") as mounted:
                    theirs.append(seconds_over_http(group, options.reference, mounted / model.name))
        rows = [("read the model once", Sample(tuple(read))), ("bundle: first text", Sample(tuple(ours)))]
        rows += [("llama-server: first text", Sample(tuple(theirs)))] if theirs else []
        rows += [("ratio bundle / read", ratios(ours, read))]
        rows += [("ratio llama-server / read", ratios(theirs, read))] if theirs else []
        for label, sample in rows:
            print(f"{label:28} {sample}")


if __name__ == "__main__":
    main()
