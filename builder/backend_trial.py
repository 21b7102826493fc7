"""Loads a GPU backend in a child process, beside our ggml, to ask for the version of its interface.

A driver may crash or hang, and takes the child alone with it. Nothing is said against a backend that cannot be loaded
here: a CUDA backend needs libraries that only a machine with such a GPU has.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from solofile.builder import inputs

SECONDS = 30

_CHILD = """
import ctypes, json, sys
folder, path = sys.argv[1:]
base = ctypes.CDLL(folder + "/libggml-base.so", ctypes.RTLD_GLOBAL)
ctypes.CDLL(folder + "/libggml.so", ctypes.RTLD_GLOBAL)
try:
    library = ctypes.CDLL(path)
except OSError as error:
    print(json.dumps({"problem": str(error)}))
    sys.exit()
library.ggml_backend_init.restype = ctypes.POINTER(ctypes.c_int)
registration = library.ggml_backend_init()
print(json.dumps({"found": registration[0]} if registration else {"problem": "it offers nothing on this machine"}))
"""


class Trial(NamedTuple):
    """The interface version that was found, None where it could not be asked for because of ``problem``."""

    wanted: int
    found: int | None
    problem: str = ""


def try_to_load(path: Path, libraries: Path) -> Trial:
    """Load the backend at ``path`` beside the ggml in the folder ``libraries``; whatever it does, nothing is raised."""
    wanted = interface_version()
    command = [sys.executable, "-I", "-S", "-c", _CHILD, str(libraries), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, errors="replace")
    except subprocess.TimeoutExpired:
        return Trial(wanted, None, f"it gave no answer within {SECONDS} s")
    if done.returncode:
        return Trial(wanted, None, f"it ended by {_ending(done.returncode)}")
    answer = json.loads(done.stdout.splitlines()[-1])
    problem = answer.get("problem", "").replace(f"{path}: ", "")
    return Trial(wanted, answer.get("found"), problem)


def interface_version() -> int:
    """The version of ggml's backend interface in the pinned sources."""
    header = inputs.llama_source() / "vendor" / "llama.cpp" / "ggml" / "src" / "ggml-backend-impl.h"
    match = re.search(r"^\s*#define GGML_BACKEND_API_VERSION (\d+)", header.read_text("utf-8"), flags=re.MULTILINE)
    assert match is not None  # the sources are pinned
    return int(match[1])


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"
