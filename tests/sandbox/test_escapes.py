"""The escape table: what a process that answers could do if somebody else got hold of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from escape_driver import ATTEMPTS, STAYS
from solofile.runtime import landlock, sandbox_linux

pytestmark = pytest.mark.e2e

Escape = Callable[..., dict[str, Any]]

REFUSALS = {"EPERM", "EACCES", "ENOSYS", "ESRCH"}
BY_FILES = {
    "read ~/.ssh", "list the home folder", "read /etc/shadow", "write beside the bundle", "write to the bundle",
    "write to the home folder", "write to what is unpacked", "read another process's environment",
}  # fmt: skip
"""What Landlock refuses; the rest is seccomp's."""

MODES = (
    ["--server", "--port", "0"], ["--no-browser", "--port", "0"], ["-p", "Hello", "-n", "1"], ["--bench"],
    ["--rpc-worker"],
)  # fmt: skip


@pytest.mark.parametrize("words", MODES, ids=lambda words: words[0])
def test_no_way_out(escape: Escape, words: list[str]) -> None:
    found = escape(*words)
    level = sandbox_linux.level()
    for kind in ("main", "other"):
        got = {name: answer for name, answer in found[kind].items() if name in ATTEMPTS}
        if not level:
            got = {name: answer for name, answer in got.items() if name not in BY_FILES}
        assert {name for name, answer in got.items() if answer not in REFUSALS} == set(), got
        assert {found[kind][name] for name in STAYS} == {"done"}
    assert len(found["threads"]) > (2 if words == ["--rpc-worker"] else 3)
    assert all(one == {"NoNewPrivs": "1", "Seccomp": "2"} for one in found["threads"])


def test_without_the_sandbox_each_of_them_is_a_way_out(escape: Escape) -> None:
    """So the test above says something of the sandbox, and not of this machine."""
    found = escape("--server", "--port", "0", "--no-sandbox")
    kept_back = {name: answer for name, answer in found["main"].items() if answer != "done"}
    # A terminal takes what is typed into it from a program that has it as its own alone, and io_uring wants a place.
    assert set(kept_back) <= {"type into the terminal", "use io_uring", "ptrace another process"}, kept_back
    assert "may read and change your files" in found["errors"]


def test_levels_of_landlock() -> None:
    """What a kernel does not know is not asked of it."""
    assert [landlock.handled(level)[0].bit_length() for level in range(1, 8)] == [13, 14, 15, 15, 16, 16, 16]
    assert [landlock.handled(level)[1:] for level in (3, 4, 5, 6, 7)] == [(0, 0), (3, 0), (3, 0), (3, 3), (3, 3)]
