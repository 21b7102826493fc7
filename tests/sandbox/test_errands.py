"""What is done outside for a confined process, and what is not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pdfs import pdf
from solofile.runtime import cache, errand_runner, errands
from solofile.runtime.errands import PDF, PROBE, PRUNE, SHOW, UNLINK, Errands

PAGE = "http://127.0.0.1:8080/"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Errands]:
    socket_path = tmp_path / "mine.sock"
    socket_path.touch()
    (tmp_path / "other").touch()
    scope = errand_runner.Scope(tmp_path, {}, None, (PAGE,), (str(socket_path),))
    made = errand_runner.fork(scope)
    assert made is not None
    yield made
    made.close()
    os.waitpid(-1, 0)


def test_a_socket_of_ours_is_removed_and_nothing_else(outside: Errands, tmp_path: Path) -> None:
    assert outside.run(UNLINK, {"path": str(tmp_path / "mine.sock")}) == {}
    assert not (tmp_path / "mine.sock").exists()
    refused = outside.run(UNLINK, {"path": str(tmp_path / "other")})
    assert refused is not None and "no socket of this start" in refused["failure"]
    assert (tmp_path / "other").exists()


def test_a_page_of_ours_is_shown_and_no_other(outside: Errands) -> None:
    for url in ("https://evil.example/", "file:///etc/passwd", f"{PAGE}../x"):
        refused = outside.run(SHOW, {"url": url})
        assert refused is not None and "no page of this start" in refused["failure"]
    assert outside.run(SHOW, {"url": PAGE}) == {"shown": False, "told": []}  # there is no desktop


def test_only_cpu_variants_are_measured(outside: Errands) -> None:
    probe = {"key": "x", "variant": "../../evil", "backend": "", "batches": [], "environment": [["LD_PRELOAD", "x"]]}
    refused = outside.run(PROBE, {"probe": probe})
    assert refused is not None and "only CPU variants" in refused["failure"]


def test_strange_questions_end_nothing(outside: Errands) -> None:
    for name, fields in (("exec", {"path": "/bin/sh"}), (PDF, {}), (UNLINK, {"path": None})):
        answer = outside.run(name, fields)
        assert answer is not None and "failure" in answer
    assert outside.run(PRUNE, {"keep": []}) == {"removed": 0}


def test_a_pdf_is_read(outside: Errands) -> None:
    answer = outside.run(PDF, {"seconds": 30}, pdf("Hello from outside"))
    assert answer is not None and "Hello from outside" in answer["answer"]


def test_one_that_is_given_up_and_many_at_once(outside: Errands) -> None:
    assert outside.run(PDF, {"seconds": 30}, pdf("x"), cancelled=lambda: True) is None
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(outside.run(PRUNE, {"keep": []}))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"removed": 0}] * 20


def test_one_that_is_not_there_any_more(tmp_path: Path) -> None:
    made = errand_runner.fork(errand_runner.Scope(tmp_path, {}))
    assert made is not None
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    os.waitpid(int(children[-1]), 0)
    with pytest.raises(OSError):
        made.run(PRUNE, {"keep": []})
    made.start(PRUNE, {"keep": []})  # nobody waits for it
    made.close()


def test_tidying_goes_on_when_the_program_has_ended(tmp_path: Path) -> None:
    old = tmp_path / "kernels" / "0123" / "lib.so"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old.parent, (0, 0))
    made = errand_runner.fork(errand_runner.Scope(tmp_path, {}))
    assert made is not None
    errands.use(made)
    try:
        cache.tidy(tmp_path, frozenset())
    finally:
        errands.use(None)
        made.close()
    end = time.monotonic() + 10
    while old.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not old.exists()
    os.waitpid(-1, 0)
