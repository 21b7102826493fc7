"""What the examples import, in a folder of its own: these packages want another `openai` than the tests do.

`packages.txt` and `package-lock.json` hold every package by its version. The folder is named by them and kept in
~/.cache/solofile-clients (SOLOFILE_TEST_CACHE), as they are 450 MB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES, NODE_PACKAGES = HERE / "packages.txt", ("package.json", "package-lock.json")


def python_with_packages() -> Path:
    """A Python that has them."""
    return _kept("python", PACKAGES.read_bytes() + sys.version.encode(), _install_python) / "bin" / "python"


def node_modules() -> Path:
    """A folder whose scripts find the packages of npm."""
    return _kept("node", b"".join((HERE / name).read_bytes() for name in NODE_PACKAGES), _install_node)


def _kept(name: str, contents: bytes, install: Callable[[Path], None]) -> Path:
    cache = Path(os.environ.get("SOLOFILE_TEST_CACHE") or Path("~/.cache/solofile-clients").expanduser())
    folder = cache / f"{name}-{hashlib.sha256(contents).hexdigest()[:16]}"
    ready = folder / "ready"  # a virtual environment cannot be renamed, so its last file says that it is whole
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        ready.touch()
    return folder


def _install_python(folder: Path) -> None:
    # pip asks for one package after the other, which takes minutes.
    uv = [sys.executable, "-m", "uv"]
    _run(*uv, "venv", "--quiet", "--python", sys.executable, "--allow-existing", str(folder))
    python = str(folder / "bin" / "python")
    words = ("install", "--quiet", "--no-deps", "--system-certs", "--python", python, "-r", str(PACKAGES))
    _run(*uv, "pip", *words)


def _install_node(folder: Path) -> None:
    for name in NODE_PACKAGES:
        shutil.copy2(HERE / name, folder)
    _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))


def _run(*command: str) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:  # not where a pyproject.toml has settings for uv
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
