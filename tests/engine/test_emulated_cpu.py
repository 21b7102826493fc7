"""A CPU without AVX: QEMU plays it, the bridge asks it, the runtime decodes the answer."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="Python is not of x86-64"),
    pytest.mark.skipif(QEMU is None, reason="needs the Debian package qemu-user-static"),
]

PROGRAM = """
import pathlib, sys
from solofile.runtime import bridge, native_probe
from solofile.runtime.hardware import detect
library = bridge.load(pathlib.Path(sys.argv[1]))
found = detect(cpu=lambda: native_probe.cpu(library))
print(found.cpu, *sorted(found.features), sep="|")
"""


@pytest.mark.parametrize(
    ("model", "name", "there", "missing"),
    [
        ("Nehalem", "Intel Core i7 9xx (Nehalem Class Core i7)", {"sse4_2"}, {"avx", "avx2", "f16c", "fma", "bmi2"}),
        ("SandyBridge", "Intel Xeon E312xx (Sandy Bridge)", {"sse4_2", "avx"}, {"avx2", "f16c", "fma", "bmi2"}),
        ("Haswell", "Intel Core Processor (Haswell)", {"avx2", "fma", "bmi2"}, {"avx512f", "amx_int8"}),
    ],
)
def test_the_emulated_cpu_and_not_the_real_one(
    model: str, name: str, there: set[str], missing: set[str], native_dir: Path
) -> None:
    command = [str(QEMU), "-cpu", model, sys.executable, "-c", PROGRAM, str(native_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    cpu, *features = done.stdout.strip().split("|")
    assert cpu == name
    assert there <= set(features)
    assert not missing & set(features)
