"""Requests generated from the server's own description: none ends in an error of the server's, a hang or a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tiny_model import write_tiny_model

COUNT = int(os.environ.get("SOLOFILE_FUZZ", "300"))


def test_generated_requests(native_dir: Path, tmp_path: Path) -> None:
    """SOLOFILE_FUZZ=50000 sends as many as a release is tried with."""
    model = write_tiny_model(tmp_path / "tiny.gguf")
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(native_dir), str(model), str(COUNT)]
    done = subprocess.run(command, capture_output=True, timeout=240 + COUNT)
    assert done.returncode == 0, done.stderr[-4000:].decode(errors="replace")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["sent"] >= COUNT
    assert {"200", "400"} <= set(found["statuses"])
