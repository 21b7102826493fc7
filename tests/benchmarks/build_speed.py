"""How long a build takes from a pack that is there, against copying the model.

    python tests/benchmarks/build_speed.py --pack …/pack.zip [--size 6000000000] [-n 3]

The model is random tensor data, which nothing can compress. Interleaved runs; seconds, median (min … max); ratios pair
by pair. Each run reads the model from the disk, with none of it in memory. Once as the commands return (the output then
lies in the page cache alone), once until it is on the disk; once with the hashes that an earlier build of the model has
left; and once with the model in memory already. Takes up to three times the size on the disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from measure import Sample, ratios

TENSOR = 50_000_000  # bytes


def write_model(path: Path, size: int) -> None:
    """A GGUF of about ``size`` bytes whose tensors are noise; nothing of it is ever run."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "llama", use_temp_file=False)
    writer.add_name("noise")
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b"])
    count = max(1, size // TENSOR)
    for index in range(count):
        writer.add_tensor_info(f"noise.{index}", (TENSOR // 4,), np.dtype(np.float32), TENSOR)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _ in range(count):
        writer.write_tensor_data(random.integers(0, 2**32, TENSOR // 4, dtype=np.uint32).view(np.float32))
    writer.close()


def seconds(command: Sequence[str], output: Path, cache: Path, *, synced: bool) -> float:
    """How long the command takes; ``cache`` is where builds keep what they remember."""
    environment = {**os.environ, "SOLOFILE_BUILD_CACHE": str(cache)}
    os.sync()  # what the run before has left to be written is not this one's
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if synced:
        descriptor = os.open(output, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    elapsed = time.perf_counter() - started
    output.unlink()
    return elapsed


def forget(path: Path) -> None:
    """Have the system drop what it holds of a file in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)  # what is not on the disk yet cannot be dropped
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def measure(model: Path, build: Sequence[str], bundle: Path, plain: Sequence[str], copy: Path, runs: int) -> None:
    folder = model.parent
    for label, synced, remembered, cold in (
        ("until the command returns", False, False, True),
        ("until it is on the disk", True, False, True),
        ("until the command returns, hashes remembered", False, True, True),
        ("until the command returns, the model in memory", False, False, False),
    ):
        ours, theirs = [], []
        for run in range(-1, runs):  # the first pair warms up and does not count
            cache = folder / "cache" / ("kept" if remembered else f"{synced}-{cold}-{run}")
            pair = []
            for command, output in ((build, bundle), (plain, copy)):
                if cold:
                    forget(model)
                pair.append(seconds(command, output, cache, synced=synced))
            if run >= 0:
                ours.append(pair[0])
                theirs.append(pair[1])
        print(label)
        print(f"  build                {Sample(tuple(ours))} s")
        print(f"  cp --sparse=never    {Sample(tuple(theirs))} s")
        print(f"  ratio                {ratios(ours, theirs)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--size", type=int, default=2_000_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; default: the temporary folder")
    parser.add_argument("-n", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model, copy, bundle = folder / "noise.gguf", folder / "copy.gguf", folder / "noise.exe"
        write_model(model, options.size)
        # Where llama.cpp's libraries are not: they would refuse noise.
        os.environ["SOLOFILE_BUILD_CACHE"] = str(folder / "cache")
        program = "import sys; from solofile.builder.cli import main; sys.exit(main())"
        words = ["build", str(model), "-o", str(bundle), "--pack", str(options.pack)]
        plain = ["cp", "--sparse=never", str(model), str(copy)]
        measure(model, [sys.executable, "-c", program, *words], bundle, plain, copy, options.n)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"largest child: {peak} MiB at the most (this program's own memory, which a child begins with, included)")


if __name__ == "__main__":
    main()
