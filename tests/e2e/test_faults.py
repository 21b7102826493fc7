"""A CPU variant that crashes, hangs or takes all memory when it is tried: the program answers, says so, remembers."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import FaultyVariant, left_behind, pack_with
from running import QUESTION, serve
from solofile.runtime.findings import today
from solofile.runtime.hardware import detect, target
from solofile.runtime.kernels import missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(target() != "linux-x86_64", reason="its faulty library is for x86-64"),
    pytest.mark.skipif(bool(missing("haswell", detect().features)), reason="the faulty variant needs a CPU with AVX2"),
]

Run = Callable[..., subprocess.CompletedProcess[str]]
ASK = ["-p", QUESTION, "-n", "12", "--temp", "0"]
AGAIN = "--kernel haswell tries it again"
MEMORY = 2 << 30
"""Bytes of address space, more than a start uses."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> FaultyVariant:
    """The library in the place of the variant haswell."""
    return FaultyVariant(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def bundle(faulty: FaultyVariant, pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model with two CPU variants, of which the better one is at fault."""
    folder = tmp_path_factory.mktemp("bundle")
    pack_with(pack, folder / "pack.zip", {"sandybridge": None, "haswell": faulty.library})
    output = folder / "faulty.exe"
    command = [*solofile, "build", "smollm2-135m.toml", "-o", output, "--pack", folder / "pack.zip"]
    subprocess.run([*map(str, command)], check=True, timeout=300)
    return output


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A cache in which nothing is left behind."""
    yield tmp_path / "cache"
    assert left_behind(tmp_path / "cache") == []


@pytest.fixture
def run(bundle: Path, cache: Path) -> Run:
    """Runs the bundle to its end."""

    def run(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SOLOFILE_CACHE": str(cache)}
        return subprocess.run(
            [*prefix, str(bundle), *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip

    return run


def told(bundle: Path, cache: Path) -> str:
    """What a server says at its start, once it has answered."""
    with serve([bundle, "--server"], {**os.environ, "SOLOFILE_CACHE": str(cache)}) as running:
        assert running.json("POST", "/completion", {"prompt": "Hello", "n_predict": 2})["content"]
    return running.errors


@pytest.mark.parametrize(
    ("what", "prefix", "detail"),
    [
        ("illegal", (), "SIGILL"),
        ("crash", (), "SIGSEGV"),
        ("memory", ("prlimit", f"--as={MEMORY}"), "SIGABRT: out of memory"),
    ],
)
def test_a_crash(
    faulty: FaultyVariant, bundle: Path, cache: Path, run: Run, what: str, prefix: tuple[str, ...], detail: str
) -> None:
    faulty.tell(what)
    fault = f"haswell crashed when it was tried on {today()} ({detail})"
    first = run(*ASK, prefix=prefix)
    assert first.returncode == 0, first.stderr
    assert "Paris" in first.stdout
    assert first.stderr == f"{fault}: {AGAIN}.\n"
    assert faulty.uses == 1

    second = run(*ASK, prefix=prefix)
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert "Kernels: sandybridge on " in (errors := told(bundle, cache))
    assert f"the fastest of the 2 in this bundle that works here, since {fault}: {AGAIN}" in errors
    assert faulty.uses == 1, "it was tried once more"

    forced = run(*ASK, "--kernel", "haswell", prefix=prefix)
    assert (forced.returncode, forced.stdout) == (2, "")
    assert forced.stderr == f"The kernel variant {fault}: leave --kernel out.\n"
    assert faulty.uses == 2


def test_a_hang(faulty: FaultyVariant, run: Run) -> None:
    """A busy machine may be to blame: the next start tries it again, and says so again."""
    faulty.tell("hang")
    sentence = f"haswell gave no answer within 5 s when it was tried on {today()}: {AGAIN}.\n"
    for uses in (1, 2):
        done = run(*ASK)
        assert (done.returncode, done.stderr) == (0, sentence)
        assert "Paris" in done.stdout
        assert faulty.uses == uses


def test_a_child_that_takes_all_memory_of_a_group(faulty: FaultyVariant, run: Run, memory_group: list[str]) -> None:
    faulty.tell("memory")
    done = run(*ASK, prefix=tuple(memory_group))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    detail = "SIGKILL, which the system sends where memory runs out"
    assert done.stderr == f"haswell crashed when it was tried on {today()} ({detail}): {AGAIN}.\n"
    assert run(*ASK, prefix=tuple(memory_group)).stderr == ""
    assert faulty.uses == 1


@pytest.fixture
def memory_group() -> Iterator[list[str]]:
    """The words before a command that runs in a control group with 1 GB of memory."""
    root = Path("/sys/fs/cgroup")
    folder = (root / "memory" if (root / "memory").is_dir() else root) / f"solofile-{os.getpid()}"
    limit = "memory.limit_in_bytes" if (root / "memory").is_dir() else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(1 << 30))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"needs root and control groups with a limit of memory: {error}")
    yield ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(folder)]
    end = time.monotonic() + 10
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError:  # what was killed in it is not quite gone
            assert time.monotonic() < end
            time.sleep(0.05)
