"""A GPU that hangs in mid-answer ends the process, which has said and noted why."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from solofile.runtime import findings, remembered, watchdog
from solofile.runtime.engine_api import Phase, State
from solofile.runtime.kernel_path import KernelPath
from solofile.runtime.watchdog import Glance, Watch

GPU = KernelPath("haswell", "vulkan", "Vulkan0", "all")


@pytest.mark.parametrize(
    ("seconds", "hangs"),
    [
        ([0, 1, 2, 3], False), ([11, 12, 13], True), ([11, 12], False),
        ([120, 121, 0], False),  # stopped for a while, and then it finished
        ([11, 12, 1, 11, 12], False), ([11, 12, 1, 11, 12, 13], True), ([10, 10, 10, 10], False),
    ],
)  # fmt: skip
def test_a_batch(seconds: list[float], hangs: bool) -> None:
    state = Watch(10)
    for now, one in enumerate(seconds):
        state = state.look(Glance(one), now)
    assert state.hangs is hangs
    assert state.what == ("did not finish a batch within 10 s" if state.strikes else "")


@pytest.mark.parametrize(
    ("looks", "hangs"),
    [
        ([(0, "a"), (9, "a"), (11, "b"), (20, "b"), (22, "b"), (23, "c")], False),
        ([(0, "a"), (11, "a"), (12, "a"), (13, "a")], True),
        ([(0, "a"), (11, "a"), (12, "a"), (13, "b")], False),
        ([(0, "a"), (500, "a"), (501, "b")], False),  # stopped for a while
        ([(0, "a"), (11, "a"), (12, None), (13, "a"), (14, "a")], False),  # it answers
        ([(0, None), (100, None), (200, None), (300, None)], False),
    ],
)  # fmt: skip
def test_a_load(looks: list[tuple[float, str | None]], hangs: bool) -> None:
    state = Watch(10)
    for now, moves in looks:
        state = state.look(Glance(0.0, moves), now)
    assert state.hangs is hangs
    assert not hangs or state.what == "got no further with loading the model within 10 s"


@pytest.mark.parametrize(("share", "hangs_after"), [(0.0, 10), (0.3, 10), (0.9, 50), (2.0, 50)])
def test_a_driver_that_compiles_gets_more_time(share: float, hangs_after: int) -> None:
    state, now = Watch(10), 0
    while not state.hangs:
        state, now = state.look(Glance(0.0, "a", share * now), now), now + 1
    assert now == hangs_after + 1 + watchdog.STRIKES
    assert state.what == f"got no further with loading the model within {hangs_after} s"


class Engine:
    """Loads and computes as it is told to."""

    def __init__(self, phase: Phase = "ready", seconds: float = 0.0, *, reads: bool = False) -> None:
        self.phase, self.seconds, self.reads, self.progress = phase, seconds, reads, 0.5

    def busy(self) -> float:
        return self.seconds

    def state(self) -> State:
        return State(self.phase, self.progress)

    def reading(self) -> tuple[int, int] | None:
        return (1, 2) if self.reads else None


def test_what_is_looked_at() -> None:
    assert watchdog.glance(Engine("ready", 7)) == Glance(7)
    assert watchdog.glance(Engine("loading", reads=True)) == Glance(0)
    loading = Engine("loading")
    first = watchdog.glance(loading)
    assert first.worked > 0
    assert first.moves is not None and first.moves == watchdog.glance(loading).moves
    loading.progress = 0.6
    assert watchdog.glance(loading).moves != first.moves
    assert watchdog.glance(None).moves not in (None, first.moves)


def test_pages_from_a_disk_are_headway(tmp_path: Path) -> None:
    """As when a model is laid out on a GPU from a file that is on a slow disk."""
    before = watchdog.glance(None)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(1 << 20))
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as view:
            assert sum(view[:: mmap.PAGESIZE]) >= 0
    if watchdog.glance(None).moves == before.moves:
        pytest.skip("this file system keeps everything in memory")


@pytest.mark.parametrize(("path", "limit"), [(KernelPath("haswell"), 60), (GPU, 0)])
def test_nothing_to_watch(tmp_path: Path, path: KernelPath, limit: float) -> None:
    assert watchdog.start(path, limit, tmp_path / "x", "1", print) is None


@pytest.mark.parametrize(
    ("engine", "limit", "what"),
    [
        (Engine("ready", 99), 3, "did not finish a batch within 3 s"),
        (Engine("loading"), 0.05, "got no further with loading the model within 0.05 s"),
        (None, 0.05, "got no further with loading the model within 0.05 s"),
    ],
)
def test_it_says_notes_and_ends(tmp_path: Path, engine: Engine | None, limit: float, what: str) -> None:
    notebook, said, ended = tmp_path / "state/choice.json", [], threading.Event()
    guard = watchdog.Guard(GPU, limit, notebook, "4711", said.append, interval=0.05, end=ended.set)
    guard.engine = engine
    assert ended.wait(5)
    assert said == [f"Vulkan0 {what}: starting once more on the CPU (--gpu-timeout allows more)."]
    known = remembered.known(remembered.read(notebook)[0], "", crash="SIGABRT", launcher="4711")
    assert known.ran == "vulkan:Vulkan0"
    assert known.crashes == {"vulkan:Vulkan0": f"{what} on {findings.today()}"}


def test_dismissed(tmp_path: Path) -> None:
    said: list[str] = []
    guard = watchdog.Guard(GPU, 0.05, tmp_path / "x", "1", said.append, interval=0.02, end=lambda: said.append("end"))
    guard.dismiss()
    threading.Event().wait(0.3)
    assert said == []


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
    def reading(self): return None
    def state(self): return type("State", (), {{"phase": "ready"}})
path, notebook = KernelPath("x64", "vulkan", "Vulkan0"), Path("/proc/self/state/x")
watchdog.Guard(path, 1, notebook, "1", print, interval=0.01).engine = Engine()
time.sleep(30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == -6
