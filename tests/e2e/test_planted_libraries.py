"""A library that was put in the way is never loaded: the current folder, beside the bundle, the environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import QUESTION
from zig_cc import marking_library

pytestmark = pytest.mark.e2e

NAMES = (
    "libggml-base.so", "libggml.so", "libllama.so", "libggml-cpu.so", "libggml-cpu-haswell.so", "libggml-cpu-x64.so",
    "libggml-vulkan.so", "libvulkan.so.1", "libc.so.6", "libm.so.6", "libz.so.1", "libpython3.11.so.1.0",
    "libstart.so", "libstdc++.so.6", "libgcc_s.so.1", "libutil.so.1", "libffi.so.6", "libssl.so.3", "libcrypto.so.3",
)  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of every name that could be looked for; each leaves a mark when it is loaded."""
    folder = tmp_path_factory.mktemp("planted")
    library = marking_library(folder)
    for name in NAMES:
        shutil.copy(library, folder / name)
    driver = {"file_format_version": "1.0.0", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
    (folder / "icd.json").write_text(json.dumps(driver))
    return folder


def test_the_planted_libraries_would_leave_a_mark(planted: Path) -> None:
    subprocess.run([sys.executable, "-c", "pass"], env={"LD_PRELOAD": str(planted / "planted.so")}, check=True)
    assert (planted / "mark").exists()
    (planted / "mark").unlink()


@pytest.mark.parametrize("mode", [["-p", QUESTION, "-n", "4"], ["--doctor"]])
@pytest.mark.parametrize("fresh", [False, True], ids=["warm", "first start"])
def test_nothing_planted_is_loaded(
    planted: Path, smollm2_bundle: Path, environment: dict[str, str], tmp_path: Path, mode: list[str], fresh: bool
) -> None:
    beside = planted / "beside.exe"
    if not beside.exists():
        shutil.copy(smollm2_bundle, beside)
    hostile = {
        "LD_LIBRARY_PATH": str(planted),
        "LD_PRELOAD": str(planted / "planted.so"),
        "LD_AUDIT": str(planted / "planted.so"),
        "GGML_BACKEND_PATH": str(planted / "libggml-cpu.so"),
        "VK_ICD_FILENAMES": str(planted / "icd.json"),
        "VK_DRIVER_FILES": str(planted / "icd.json"),
        "VK_ADD_DRIVER_FILES": str(planted / "icd.json"),
        "VK_LAYER_PATH": str(planted),
        "PATH": f"{planted}:{os.environ['PATH']}",
    }
    if fresh:
        hostile["SOLOFILE_CACHE"] = str(tmp_path / "cache")
    # The dynamic loader obeys LD_PRELOAD for whatever is started; the launcher is static and starts the rest without.
    done = subprocess.run(
        [beside, *mode], env={**environment, **hostile}, cwd=planted, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not (planted / "mark").exists()
