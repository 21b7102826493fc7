"""A GPU that hangs in mid-answer ends the process, which has said and noted why."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from solofile.runtime import findings, remembered, watchdog
from solofile.runtime.kernel_path import KernelPath

GPU = KernelPath("haswell", "vulkan", "Vulkan0", "all")


@pytest.mark.parametrize(
    ("seconds", "hangs"),
    [
        ([0, 1, 2, 3], False), ([11, 12, 13], True), ([11, 12], False),
        ([120, 121, 0], False),  # stopped for a while, and then it finished
        ([11, 12, 1, 11, 12], False), ([11, 12, 1, 11, 12, 13], True), ([10, 10, 10, 10], False),
    ],
)  # fmt: skip
def test_when_to_give_up(seconds: list[float], hangs: bool) -> None:
    state = watchdog.Watch(10)
    for one in seconds:
        state = state.look(one)
    assert state.hangs is hangs


class Engine:
    """Computes one batch for ever, from the fifth look on."""

    def __init__(self) -> None:
        self.looks = 0

    def busy(self) -> float:
        self.looks += 1
        return 0.0 if self.looks < 5 else self.looks


@pytest.mark.parametrize(("path", "limit"), [(KernelPath("haswell"), 60), (GPU, 0)])
def test_nothing_to_watch(tmp_path: Path, path: KernelPath, limit: float) -> None:
    assert watchdog.start(Engine(), path, limit, tmp_path / "x", "1", print) is None


def test_it_says_notes_and_ends(tmp_path: Path) -> None:
    notebook, said, ended = tmp_path / "state/choice.json", [], threading.Event()
    thread = watchdog.start(Engine(), GPU, 3, notebook, "4711", said.append, interval=0.01, end=ended.set)
    assert thread is not None
    assert ended.wait(5)
    assert said == [
        "Vulkan0 did not finish a batch within 3 s: starting once more on the CPU (--gpu-timeout allows more)."
    ]
    known = remembered.known(remembered.read(notebook)[0], "", crash="SIGABRT", launcher="4711")
    assert known.ran == "vulkan:Vulkan0"
    assert known.crashes == {"vulkan:Vulkan0": f"did not finish a batch within 3 s on {findings.today()}"}
    thread.join(5)


def test_it_aborts_the_process() -> None:
    """With a cache that cannot be written, and the main thread busy in native code."""
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from solofile.runtime import watchdog
from solofile.runtime.kernel_path import KernelPath
class Engine:
    def busy(self): return 99.0
path, notebook = KernelPath("x64", "vulkan", "Vulkan0"), Path("/proc/self/state/x")
watchdog.start(Engine(), path, 1, notebook, "1", print, interval=0.01)
time.sleep(30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == -6
