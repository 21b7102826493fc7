"""Tiny bundles that a Python starts: in place of the runtime they hold a script that tells how it was started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cosmo_python import write_stand_in
from solofile.builder import python_pack
from solofile.builder.cli import main
from solofile.builder.packfile import Pack, PackFacts, PackSource, write_pack
from solofile.runtime.manifest import LlamaCpp

TELLING = """\
import json, os, signal, sys, time

told = {name: os.environ.get(name) for name in os.environ if name.startswith("SOLOFILE_")}
ways = {"argv": sys.argv[1:], "path": sys.path, "told": told, "file": __file__, "prefix": sys.pycache_prefix}
ways |= {"isolated": sys.flags.isolated, "no_site": sys.flags.no_site, "python": sys.executable, "pid": os.getpid()}
ways |= {"environment": sorted(os.environ)}
print(json.dumps(ways), flush=True)
if "--crash" in sys.argv and ("SOLOFILE_CRASH" not in os.environ or "--always" in sys.argv):
    os.kill(os.getpid(), signal.SIGSEGV)
if "--wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print("ready", flush=True)
    time.sleep(60)
sys.exit(3 if "--three" in sys.argv else 0)
"""


def tiny_modules(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str = TELLING) -> None:
    """Have zipapps take these modules in place of the runtime's."""
    path = folder / "modules.zip"
    facts = PackFacts(
        "python", "Python 3.10", "Python 3.10", LlamaCpp("0.5.0", "0c1e570", "llama-cpp-python==0.3.36"), ()
    )
    files = [
        PackSource("runtime/python/solofile_start.py", text.encode()),
        PackSource("runtime/python/deep/er/module.py", b"x = 1\n"),
    ]
    write_pack(path, facts=facts, launcher=b"", files=files)
    monkeypatch.setattr(python_pack, "python_pack", lambda: Pack.open(path))


def build(output: Path, model: Path, pack: Path, *words: str | Path) -> Path:
    """Build by the command line."""
    command = ["build", model, "--pack", pack, "-o", output, "--progress", "none", *words]
    assert main(list(map(str, command))) == 0
    return output


def build_ape(output: Path, model: Path, pack: Path, *words: str | Path) -> Path:
    """The same in a stand-in for a Cosmopolitan Python."""
    python = write_stand_in(output.with_name("cosmo-python"))
    return build(output, model, pack, "--format", "ape", "--cosmo-python", python, *words)


def start(
    bundle: Path, *words: str, cache: Path | None, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Start a bundle to its end: a zipapp by a Python, the others by the shell."""
    command = [python if bundle.suffix == ".pyz" else "sh", str(bundle), *words]
    world = {**os.environ, **environment} | ({"SOLOFILE_CACHE": str(cache)} if cache else {})
    return subprocess.run(command, env=world, capture_output=True, text=True, timeout=60, check=False)
