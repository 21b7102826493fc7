"""The dashboard and the alert rules name figures that exist, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from http_support import ABOUT
from solofile.builder import inputs
from solofile.runtime.exposition import Histogram
from solofile.runtime.observer import Observer
from solofile.runtime.server_settings import ServerSettings

FOLDER = Path(__file__).parents[2] / "runtime" / "observability"
RULES, DASHBOARD = FOLDER / "alerts.yml", FOLDER / "grafana.json"
NAME = re.compile(r"\b(?:solofile_|llamacpp:|process_)[a-z0-9_]+")


def given() -> set[str]:
    """The names of all that `/metrics` gives, but for llama.cpp's."""
    metrics = Observer(FakeEngine(), ServerSettings(), ABOUT).metrics
    names = set(metrics.names)
    histograms = [one.name for one in vars(metrics).values() if isinstance(one, Histogram)]
    return names | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def llama_cpps() -> set[str]:
    """llama.cpp's, as its source has them."""
    source = inputs.llama_source() / "vendor/llama.cpp/tools/server/server-task.cpp"
    return {f"llamacpp:{name}" for name in re.findall(r'\{\s*"([a-z_]+)",\s*\n?\s*"[A-Z]', source.read_text("utf-8"))}


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_name_exists(path: Path) -> None:
    named = set(NAME.findall(path.read_text("utf-8")))
    assert len(named) > 5
    ours = {name for name in named if not name.startswith("llamacpp:")}
    assert ours - given() == set()
    assert named - ours - llama_cpps() == set()


def test_the_dashboard_is_whole() -> None:
    found = json.loads(DASHBOARD.read_text("utf-8"))
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    for panel in panels:
        assert panel["title"] and panel["targets"]
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])


def test_what_matters_most_is_shown() -> None:
    named = set(NAME.findall(DASHBOARD.read_text("utf-8")))
    plain = {re.sub("_bucket$", "", name) for name in named}
    hidden = {"solofile_queue_limit", "solofile_started_after_crash", "process_start_time_seconds",
              "solofile_key_requests_total"}  # fmt: skip
    metrics = Observer(FakeEngine(), ServerSettings(), ABOUT).metrics
    assert set(metrics.names) - plain == hidden


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian package prometheus)")
def test_promtool_reads_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
