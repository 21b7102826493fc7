"""What the choice of the kernel path adds to a warm start for which everything is remembered.

    python tests/benchmarks/choosing_time.py --bundle smollm2.exe

Two ways to see it. Milliseconds in a fresh interpreter: to import what chooses, look at the machine, read what is
remembered and decide, behind what every start imports anyway. And whole starts, until the first text of -p: the bundle
as it comes, against one with every part forced and --no-calibrate, in turn; the difference is what remembering costs.
Median (min … max).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Sample
from start import seconds_to_first_byte

PROGRAM = """
import sys, time
from pathlib import Path
from solofile.runtime import cache, settings
from solofile.runtime.container import Bundle

bundle = Bundle.open(sys.argv[1])
launch = settings.resolve([], bundle.manifest, {})
model = next(one for one in bundle.manifest.models if one.path == launch.model)
[target] = bundle.manifest.targets.values()
from solofile.runtime import bridge

library = bridge.load(next(Path(sys.argv[2], "packs").glob(f"{target.pack}*/native")))  # as every start does
begin = time.perf_counter()
from solofile.runtime import choice, hardware, native_probe, options, remembered

machine = hardware.detect(cpu=lambda: native_probe.cpu(library))
document, problem = remembered.read(remembered.file_path(Path(sys.argv[2]), hardware.identity(machine), target.pack))
known = remembered.known(document, bundle.part(model.path).sha256[:16])
wishes = choice.wishes(None, None, options.parse(launch.core))
chosen = choice.choose(machine, model, choice.Offer(target.kernels), wishes, known)
choice.arguments(chosen.path, wishes)
print((time.perf_counter() - begin) * 1000)
path = chosen.path
print("known" if known.probes or known.calibration else "unknown")
print(" ".join(["--kernel", path.variant, "-t", str(path.threads), "-tb", str(path.threads_batch),
                "--repack" if path.repack else "--no-repack", "-fa", path.flash, "-cram", str(path.cache_ram)]))
"""


def choose(bundle: str, cache: Path) -> tuple[float, bool, list[str]]:
    """Milliseconds, whether anything was remembered, and the options that force what was chosen."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, bundle, str(cache)], check=True, capture_output=True, text=True
    )
    milliseconds, known, words = done.stdout.splitlines()
    return float(milliseconds), known == "known", words.split()


def fill(bundle: str, environment: dict[str, str], settle: float) -> None:
    """Start it once as a server and let it measure, so that later starts remember."""
    command = [bundle, "--server", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    time.sleep(settle)
    process.terminate()
    process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("-n", type=int, default=15, help="runs of each")
    parser.add_argument("--settle", type=float, default=20.0, help="seconds that the first start gets to measure")
    options = parser.parse_args()
    bundle = str(options.bundle.resolve())
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        environment = {**os.environ, "SOLOFILE_CACHE": str(cache)}
        fill(bundle, environment, options.settle)
        _, known, words = choose(bundle, cache)
        if not known:
            print("Nothing was remembered of the first start: give it more time with --settle.", file=sys.stderr)
        common = [bundle, "-p", "Hello", "-n", "4", "--temp", "0"]
        forced = [*common, "--gpu", "none", "--no-calibrate", *words]
        choosing: list[float] = []
        plain: list[float] = []
        without: list[float] = []
        for _ in range(options.n):
            choosing.append(choose(bundle, cache)[0])
            plain.append(1000 * seconds_to_first_byte(common, environment))
            without.append(1000 * seconds_to_first_byte(forced, environment))
    more = tuple(a - b for a, b in zip(plain, without, strict=True))
    print(f"forced: {' '.join(words)}")
    print(f"{'':32} ms, median (min … max) of {options.n}")
    rows = {"to choose": choosing, "first text": plain, "first text, all forced": without, "difference": more}
    for label, values in rows.items():
        print(f"{label:32} {Sample(tuple(values))}")


if __name__ == "__main__":
    main()
