"""Real libraries tried in child processes, good ones and bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.builder.targets import find_target
from solofile.runtime import probing
from solofile.runtime.engine import Member
from solofile.runtime.hardware import detect
from solofile.runtime.kernel_path import CRASHED, FAILED, HUNG, MISSING, OK, Outcome
from solofile.runtime.kernels import family, missing
from solofile.runtime.probe_plan import Probe

ABLE = [name for name in family(find_target().kernels) if not missing(name, detect().features)]
UNABLE = [name for name in family(find_target().kernels) if missing(name, detect().features)]
X64 = Probe("x64", "x64", threads=2, measure=0.02, sample=1 << 20)

Compile = Callable[..., None]


@pytest.fixture
def attempt(native_dir: Path, member: Member) -> Callable[..., Outcome]:
    """Tries a probe with the libraries of its name, or with others beside the CPU's."""

    def attempt(probe: Probe = X64, *more: Path, timeout: float = 60) -> Outcome:
        backends = [native_dir / f"libggml-cpu-{probe.variant}.so", *more]
        return probing.run(probing.job(probe, native_dir, backends, member), timeout)

    return attempt


@pytest.mark.parametrize("variant", ABLE)
def test_what_this_cpu_can_run(attempt: Callable[..., Outcome], variant: str) -> None:
    outcome = attempt(X64._replace(key=variant, variant=variant))
    assert outcome.status == OK, outcome
    assert outcome.result is not None
    assert outcome.result["error"] < 0.02
    assert set(outcome.result["seconds"]) == {"1", "64"}


@pytest.mark.skipif(not UNABLE, reason="this CPU can run every variant")
def test_what_this_cpu_cannot_run(attempt: Callable[..., Outcome]) -> None:
    outcome = attempt(X64._replace(key=UNABLE[0], variant=UNABLE[0]))
    assert outcome.status in (FAILED, CRASHED)
    assert "libggml-cpu-" in outcome.detail or outcome.detail.startswith("SIGILL")


def test_devices(attempt: Callable[..., Outcome]) -> None:
    outcome = attempt(X64._replace(backend="none", measure=0.0))
    assert outcome.result is not None
    assert [one["type"] for one in outcome.result["devices"]] == ["cpu"]
    assert "seconds" not in outcome.result


BACKENDS = {
    "crash": ('__attribute__((constructor)) static void start(void) { *(volatile int *) 0 = 1; }', CRASHED, "SIG"),
    "abort": (
        '#include <stdio.h>\n#include <stdlib.h>\n'
        'void * ggml_backend_init(void) { fputs("no such chip\\n", stderr); abort(); }',
        CRASHED, "SIGABRT: no such chip",
    ),
    "hang": ("#include <unistd.h>\nvoid * ggml_backend_init(void) { for (;;) pause(); }", HUNG, "no answer within 2 s"),
    "nothing": ("void * ggml_backend_init(void) { return 0; }", FAILED, "libnothing.so"),
    "stranger": ("int nothing;", FAILED, "libstranger.so"),
    "exit": ("#include <stdlib.h>\nvoid * ggml_backend_init(void) { exit(7); }", FAILED, "it ended with code 7"),
    "eats": (
        "#include <stdlib.h>\n#include <string.h>\n#include <sys/resource.h>\nvoid * ggml_backend_init(void) {\n"
        "struct rlimit most = { 1l << 31, 1l << 31 }; setrlimit(RLIMIT_AS, &most);\n"
        "for (;;) { void * all = malloc(1 << 26); if (!all) abort(); memset(all, 1, 4096); } }",
        CRASHED, "SIGABRT",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_is_bad(attempt: Callable[..., Outcome], zig_cc: Compile, tmp_path: Path, name: str) -> None:
    code, status, detail = BACKENDS[name]
    library = tmp_path / f"lib{name}.so"
    (tmp_path / "backend.c").write_text(code)
    zig_cc("-shared", "-fPIC", "-fno-sanitize=undefined", "-o", str(library), str(tmp_path / "backend.c"))
    outcome = attempt(X64._replace(backend=name, measure=0.0), library, timeout=2 if status == HUNG else 60)
    assert outcome.status == status, outcome
    assert detail in outcome.detail


def test_a_library_that_is_not_there(attempt: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = attempt(X64._replace(backend="gone", measure=0.0), tmp_path / "libgone.so")
    assert outcome.status == MISSING
    assert outcome.detail == "cannot open shared object file: No such file or directory"


def test_a_library_that_needs_another(attempt: Callable[..., Outcome], zig_cc: Compile, tmp_path: Path) -> None:
    (tmp_path / "code.c").write_text("int other(void) { return 1; }")
    user_code = "int other(void);\nvoid * ggml_backend_init(void) { return other() ? (void *) other : (void *) 0; }"
    (tmp_path / "user.c").write_text(user_code)
    driver, user = tmp_path / "libdriver.so.1", tmp_path / "libuser.so"
    zig_cc("-shared", "-fPIC", "-Wl,-soname,libdriver.so.1", "-o", str(driver), str(tmp_path / "code.c"))
    zig_cc("-shared", "-fPIC", "-o", str(user), str(tmp_path / "user.c"), str(driver))
    driver.unlink()
    outcome = attempt(X64._replace(backend="user", measure=0.0), user)
    assert outcome.status == MISSING
    assert outcome.detail.startswith("libdriver.so.1: cannot open shared object file")


def test_a_model_that_is_none(native_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(5000))
    job = probing.job(
        X64, native_dir, [native_dir / "libggml-cpu-x64.so"], Member("bad", tmp_path / "bad.gguf", 0, 5004)
    )
    outcome = probing.run(job, 60)
    assert outcome.status == FAILED
    assert outcome.detail
