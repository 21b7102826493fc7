"""Whatever a child process does, the parent goes on with a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solofile.runtime import probing
from solofile.runtime.engine import Member
from solofile.runtime.kernel_path import CRASHED, FAILED, HUNG, MISSING, OK, UNTRIED, Outcome
from solofile.runtime.probe_plan import Probe

JOB: dict[str, Any] = {"environment": {"MARK": "1"}}


def child(code: str, timeout: float = 20.0, **more: Any) -> Outcome:
    """The outcome of a child that runs this code."""
    return probing.run(JOB, timeout, command=[sys.executable, "-S", "-c", code], **more)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No child outlives a test, not even as a zombie."""
    before = children()
    yield
    assert children() == before


def children() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"PPid:\t{os.getpid()}\n" in (entry / "status").read_text():
                found.add(int(entry.name))
        except OSError:
            pass
    return found


def test_an_answer() -> None:
    code = """import sys; sys.stdin.readline(); print('{"seconds": {"1": 0.5}, "error": 0.01}')"""
    assert child(code) == Outcome(OK, "", {"seconds": {"1": 0.5}, "error": 0.01})


def test_the_job_comes_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PYI_ARCHIVE_FILE", "/ours")
    outcome = child("import sys, json, os; print(json.dumps({'got': json.loads(sys.stdin.readline()), **os.environ}))")
    assert outcome.result is not None
    assert (outcome.result["got"], outcome.result["MARK"], outcome.result["SOLOFILE_CHILD"]) == (JOB, "1", "probe")
    assert "_PYI_ARCHIVE_FILE" not in outcome.result


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS"])
def test_a_signal(name: str) -> None:
    code = f"import os, signal; os.write(2, b'last words'); os.kill(os.getpid(), signal.{name})"
    why = ", which the system sends where memory runs out" if name == "SIGKILL" else ""
    assert child(code) == Outcome(CRASHED, f"{name}{why}: last words")


def test_a_real_segmentation_fault() -> None:
    assert child("import ctypes; ctypes.string_at(0)").detail.startswith("SIGSEGV")


def test_a_hang() -> None:
    start = time.monotonic()
    assert child("import time; time.sleep(60)", 0.5) == Outcome(HUNG, "no answer within 0.5 s")
    assert time.monotonic() - start < 3


def test_a_hang_that_ignores_signals_and_has_a_child() -> None:
    code = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
os.fork()
time.sleep(60)
"""
    assert child(code, 0.5).status == HUNG


def leave_a_child(note: Path, first: str = "") -> None:
    """Run a child that answers and ends; one of its own, whose number is in ``note``, stays and holds up nobody."""
    code = f"""
import os, time
if os.fork() == 0:
    {first}
    open({str(note)!r}, "w").write(str(os.getpid()))
    time.sleep(60)
while not os.path.exists({str(note)!r}): time.sleep(0.01)
print("{{}}", flush=True)
os._exit(0)
"""
    start = time.monotonic()
    assert child(code).status == OK
    assert time.monotonic() - start < 5


def test_a_child_of_its_own_that_stays(tmp_path: Path) -> None:
    """The answer counts at once, and what the child left behind is killed."""
    note = tmp_path / "pid"
    leave_a_child(note)
    wait_until_gone(int(note.read_text()))


def test_a_child_that_flees_and_keeps_the_pipes(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    leave_a_child(note, "os.setsid()")
    os.kill(int(note.read_text()), signal.SIGKILL)


def wait_until_gone(process: int) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {process} is still there")


def test_too_much_memory() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
    outcome = child(limit + "held = []\nwhile True: held.append(bytearray(1 << 24))")
    assert outcome == Outcome(FAILED, "it ended with code 1: MemoryError")
    native = limit + "import ctypes, os\nif not ctypes.CDLL(None).malloc(ctypes.c_size_t(1 << 40)): os.abort()"
    assert child(native) == Outcome(CRASHED, "SIGABRT")


@pytest.mark.parametrize("text", ["", "garbage", "[1]", "{", "NaN", "[" * 5000])
def test_garbage(text: str) -> None:
    assert child(f"print({text!r})") == Outcome(FAILED, "its answer is no JSON")


def test_an_exit_code() -> None:
    code = r"import sys; sys.stderr.write('first\nthe \x1b[31mlast\n\n'); sys.exit(3)"
    assert child(code) == Outcome(FAILED, "it ended with code 3: the ?[31mlast")


@pytest.mark.parametrize("stream", [1, 2])
def test_a_hundred_megabytes(stream: int) -> None:
    code = f"import os\nfor _ in range(100): os.write({stream}, b'x' * 1000000)\nos.write(1, b'{{}}')"
    assert child(code) == (Outcome(FAILED, "it wrote far more than an answer") if stream == 1 else Outcome(OK, "", {}))


def test_it_closes_its_pipes_and_stays() -> None:
    assert child("import os, time; os.close(0); os.close(1); os.close(2); time.sleep(60)", 0.5).status == HUNG


def test_it_says_no() -> None:
    assert child("""print('{"failure": "There is no device."}')""") == Outcome(FAILED, "There is no device")
    assert child("""print('{"failure": "no libx.so", "missing": true}')""") == Outcome(MISSING, "no libx.so")


@pytest.mark.parametrize("error", ["0.3", "NaN", "Infinity", '"x"'])
def test_a_wrong_result(error: str) -> None:
    outcome = child(f"""print('{{"seconds": {{}}, "error": {error}}}')""")
    assert outcome.status == FAILED
    assert outcome.detail.startswith("it computes wrongly, off by ")


def test_it_cannot_be_started() -> None:
    assert probing.run(JOB, 5, command=["/nowhere/at/all"]) == Outcome(
        UNTRIED, "no child process could be started: No such file or directory"
    )


def test_given_up() -> None:
    answers = iter([False, False, True])
    assert child("import time; time.sleep(60)", cancelled=lambda: next(answers)).status == probing.STOPPED


def test_interrupted() -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child("import time; time.sleep(60)", cancelled=interrupt)


REAL = f"import sys; sys.path[:0] = {sys.path!r}\nfrom solofile.runtime import probe_child\n"


def real(compute: str, job: dict[str, Any] = JOB, **more: Any) -> Outcome:
    """The outcome of the real child, computing something else."""
    code = f"{REAL}def compute(job):\n {compute}\nsys.exit(probe_child.main(compute))"
    return probing.run(job, 20, command=[sys.executable, "-c", code], **more)


def test_the_child_keeps_its_answer_apart_from_what_drivers_print() -> None:
    assert real("import os; os.write(1, b'driver says hello'); return {'seen': job}") == Outcome(OK, "", {"seen": JOB})


@pytest.mark.parametrize(
    ("compute", "outcome"),
    [
        ("raise probe_child.SolofileError('No such device.')", Outcome(FAILED, "No such device")),
        ("raise MemoryError", Outcome(FAILED, "it ran out of memory")),
        ("import ctypes; ctypes.string_at(0)", Outcome(CRASHED, "SIGSEGV")),
        ("1 / 0", Outcome(FAILED, "it ended with code 1: ZeroDivisionError: division by zero")),
    ],
)
def test_the_child_fails(compute: str, outcome: Outcome) -> None:
    assert real(compute) == outcome


def test_the_child_limits_itself() -> None:
    core = real("import resource; return {'core': resource.getrlimit(resource.RLIMIT_CORE)}")
    assert core.result == {"core": [0, 0]}
    assert real("return {'oom': open('/proc/self/oom_score_adj').read()}").result == {"oom": "1000\n"}


@pytest.mark.parametrize("background", [False, True])
def test_the_child_gives_way_in_the_background(background: bool) -> None:
    look = """
 import os
 group = open('/proc/self/autogroup').read() if os.path.exists('/proc/self/autogroup') else ''
 return {'nice': os.getpriority(os.PRIO_PROCESS, 0), 'group': group}"""
    result = real(look, {**JOB, "background": background}).result
    assert result is not None
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert result["nice"] == (19 if background else usual)
    if result["group"]:  # sessions have a niceness of their own here
        assert result["group"].split()[-1] == ("19" if background else "0")


@pytest.mark.parametrize("signals", [True, False], ids=["kernel", "pipe"])
def test_the_child_ends_with_its_parent(tmp_path: Path, signals: bool) -> None:
    note = tmp_path / "pid"
    deaf = "" if signals else "probe_child._PR_SET_PDEATHSIG = 0\n"  # no such request
    hang = "ctypes.PyDLL(None).pause()" if signals else "time.sleep(60)"  # with Python's lock held, no thread runs
    inner = (
        f"{REAL}import ctypes, os, time\n{deaf}def compute(job):\n"
        f" open({str(note)!r}, 'w').write(str(os.getpid()))\n {hang}\nsys.exit(probe_child.main(compute))"
    )
    outer = (
        f"{REAL}from solofile.runtime import probing\nprobing.run({{}}, 60, command=[sys.executable, '-c', {inner!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", outer]) as parent:
        end = time.monotonic() + 20
        while not (note.exists() and note.read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.1)
        parent.kill()
    wait_until_gone(int(note.read_text()))


def test_the_job_of_a_probe() -> None:
    probe = Probe("vulkan:Vulkan0", "haswell", "vulkan", "Vulkan0", threads=3, measure=0.05, environment=(("A", "b"),))
    member = Member("models/x.gguf", Path("/bundle"), 65536, 9)
    job = probing.job(probe, Path("/native"), [Path("/a.so"), Path("/b.so")], member)
    assert job == {
        "native_dir": "/native",
        "backends": ["/a.so", "/b.so"],
        "list_devices": True,
        "background": False,
        "environment": {"A": "b"},
        "confined": True,
        "member": {"name": "models/x.gguf", "file": "/bundle", "offset": 65536, "size": 9},
        "probe": {
            "member": "models/x.gguf", "device": "Vulkan0", "threads": 3, "repack": True, "seconds": 0.05,
            "bytes": 64 << 20, "tokens": [1, 64], "attention": 0,
        },
    }  # fmt: skip
    listing = probing.job(probe._replace(measure=0.0), Path("/native"), [], member)
    assert "probe" not in listing and "member" not in listing


def test_nobody_else_starts_it() -> None:
    command = [sys.executable, "-m", "solofile.runtime"]
    environment = {**os.environ, probing.VARIABLE: "probe"}
    done = subprocess.run(command, env=environment, input=b"", capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"This is a part of a bundle and not meant to be started by itself: start the bundle.\n"


def test_libraries_that_are_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "solofile.runtime"]
    outcome = probing.run({"native_dir": str(tmp_path), "backends": []}, 20, command=command)
    assert outcome.status == FAILED
    assert "libggml-base.so did not load" in outcome.detail
