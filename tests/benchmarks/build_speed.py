"""How long a build takes from a pack that is there, against copying the model.

    python tests/benchmarks/build_speed.py --pack …/pack.zip [--size 2000000000]

The model is random tensor data, which nothing can compress. Interleaved runs; seconds, median (min … max); ratios pair
by pair. Once as the commands return (a copy then lies in the page cache alone), once until the file is on the disk.
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


def seconds(command: Sequence[str], output: Path, *, synced: bool) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if synced:
        descriptor = os.open(output, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    elapsed = time.perf_counter() - started
    output.unlink()
    return elapsed


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
        build = [sys.executable, "-c", program, *words]
        plain = ["cp", "--sparse=never", str(model), str(copy)]
        for label, synced in (("until the command returns", False), ("until it is on the disk", True)):
            ours, theirs = [], []
            for run in range(-1, options.n):  # the first pair warms up and does not count
                pair = seconds(build, bundle, synced=synced), seconds(plain, copy, synced=synced)
                if run >= 0:
                    ours.append(pair[0])
                    theirs.append(pair[1])
            print(label)
            print(f"  build                {Sample(tuple(ours))} s")
            print(f"  cp --sparse=never    {Sample(tuple(theirs))} s")
            print(f"  ratio                {ratios(ours, theirs)}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"largest child: {peak} MiB at the most (this program's own memory, which a child begins with, included)")


if __name__ == "__main__":
    main()
