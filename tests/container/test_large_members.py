"""Members and offsets over 4 GiB: takes 10 GB of (mostly sparse) disk and a minute, so only when asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from bundles import make_bundle
from solofile.runtime.container import Bundle

LARGE = (4 << 30) + 4097

pytestmark = pytest.mark.skipif(
    not os.environ.get("SOLOFILE_LARGE_TESTS"), reason="set SOLOFILE_LARGE_TESTS to write files over 4 GiB"
)


def test_zip64_in_earnest(pack_path: Path, tmp_path: Path) -> None:
    """One model over 4 GiB, and a second one that begins behind it."""
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    with first.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(LARGE)
    second.write_bytes(b"GGUF" + os.urandom(1000))
    bundle = tmp_path / "large.exe"
    make_bundle(bundle, pack_path, [first, second])
    with Bundle.open(bundle) as opened:
        assert opened.parts["models/first.gguf"].size == LARGE
        assert opened.data_offset("models/second.gguf") > LARGE
        assert opened.read("models/second.gguf") == second.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        assert archive.getinfo("models/first.gguf").file_size == LARGE
        assert archive.read("models/second.gguf") == second.read_bytes()
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tqq", str(bundle), "models/second.gguf"], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
