"""GPU libraries see nothing that names code; the browser sees what it always did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from solofile.runtime import gpu_environment, probing
from solofile.runtime.vulkan_files import driver_folders

DESKTOP = {
    "HOME": "/elsewhere", "XDG_DATA_HOME": "/d", "XDG_DATA_DIRS": "/e:/usr/share", "XDG_CONFIG_HOME": "/f",
    "XDG_CONFIG_DIRS": "/g", "XDG_CACHE_HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/1", "XDG_CURRENT_DESKTOP": "GNOME",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> str:
    users = f"root:x:4711:0:root:/root:/bin/bash\nbroken\nme:x:{os.getuid()}:1:Me:/home/me:/bin/sh\n"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(users)
    return str(tmp_path)


def test_what_names_folders_goes(root: str) -> None:
    kept = {"LANG": "C", "DISPLAY": ":0", "GGML_VK_VISIBLE_DEVICES": "1", "MY_XDG_DATA_HOME": "/x"}
    assert gpu_environment.cleaned({**DESKTOP, **kept}, root) == {**kept, "HOME": "/home/me"}


def test_what_drivers_compile_is_kept_in_the_cache(root: str) -> None:
    assert gpu_environment.cleaned({**DESKTOP, "SOLOFILE_CACHE_DIR": "/cache"}, root) == {
        "HOME": "/home/me",
        "SOLOFILE_CACHE_DIR": "/cache",
        "XDG_CACHE_HOME": "/cache/drivers",
        "CUDA_CACHE_PATH": "/cache/drivers/cuda",
    }


@pytest.mark.parametrize("text", [None, "", "me:x:0\n", "me:x:{}:1:Me:relative:/bin/sh\n", "me:x:{}:1:Me::/bin/sh\n"])
def test_without_a_home(root: str, text: str | None) -> None:
    users = Path(root, "etc/passwd")
    if text is None:
        users.unlink()
    else:
        users.write_text(text.format(os.getuid()))
    assert gpu_environment.cleaned(DESKTOP, root) == {}
    assert not any(folder.startswith(("home", "/")) for folder in driver_folders(root))


def test_c_sees_it() -> None:
    code = """
import ctypes, os
from solofile.runtime import gpu_environment
before = dict(os.environ)
gpu_environment.clean()
get = ctypes.CDLL(None).getenv
get.restype = ctypes.c_char_p
assert get(b"XDG_DATA_DIRS") is get(b"XDG_DATA_HOME") is get(b"XDG_CONFIG_DIRS") is get(b"XDG_RUNTIME_DIR") is None
assert get(b"XDG_CACHE_HOME") == b"/cache/drivers"
assert get(b"HOME") != b"/elsewhere"
assert before["XDG_DATA_DIRS"] == "/e:/usr/share"
"""
    environment = {**DESKTOP, "SOLOFILE_CACHE_DIR": "/cache", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_child_that_probes_starts_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DESKTOP.items():
        monkeypatch.setenv(name, value)
    code = "import json, os, sys; sys.stdin.readline(); print(json.dumps({'seen': dict(os.environ)}))"
    outcome = probing.run({}, 20, command=[sys.executable, "-S", "-c", code])
    assert outcome.result is not None
    seen = outcome.result["seen"]
    assert [name for name in seen if name.startswith("XDG_")] == []
    assert seen.get("HOME") != "/elsewhere"
