"""The child process of child.py: one job from standard input, news and the answer as JSON on standard output."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from solofile.builder.child import Refused, Unusable

TASKS = {
    "layout": "child_llama",
    "render": "child_llama",
    "quantize": "child_quantize",
    "render_by_jinja": "child_jinja",
}
"""The functions that may be called, and the modules that they are in."""

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def main() -> int:
    """Do the job; the exit code."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native code prints there is no answer
    try:
        job = json.loads(sys.stdin.buffer.readline())
    except ValueError:
        print("This is a part of solofile and not meant to be started by itself.", file=sys.stderr)
        return 2
    _limit(job.pop("memory"))

    def tell(kind: str, what: Any) -> None:
        out.write(json.dumps({kind: what}) + "\n")
        out.flush()

    tell("answer", _answer(job, lambda news: tell("news", news)))
    # Without tearing down what native code left behind: it is of no use to anybody.
    os._exit(0)


def _answer(job: dict[str, Any], news: Callable[[Any], None]) -> dict[str, Any]:
    task = job.pop("task")
    try:
        module = importlib.import_module(f"solofile.builder.{TASKS[task]}")
        answer: dict[str, Any] = getattr(module, task)(job, news)
    except Unusable as error:
        return {"failure": str(error), "unusable": True}
    except Refused as error:
        return {"failure": str(error)}
    except MemoryError:
        return {"failure": "it takes too much memory", "crashed": True}
    except RecursionError:
        return {"failure": "it is nested too deeply", "crashed": True}
    return answer


def _limit(memory: int | None) -> None:
    """Take no more memory than allowed, write no memory image in a crash, and end with the parent."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
