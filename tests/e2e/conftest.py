"""The real bundle, run once and as a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, serve
from solofile.builder.build import model_entry
from solofile.builder.gguf_check import check_model
from solofile.builder.packfile import Pack
from solofile.builder.writer import BundlePlan, ModelFile, write_bundle


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run-side cache of this test run."""
    return tmp_path_factory.mktemp("cache") / "solofile"


@pytest.fixture(scope="session")
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user who has set the cache."""
    return {**os.environ, "SOLOFILE_CACHE": str(cache)}


@pytest.fixture(scope="session")
def run_bundle(smollm2_bundle: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the bundle to its end."""

    def run(*arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        settings: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "timeout": 120, **changes}
        command = settings.pop("bundle", smollm2_bundle)
        return subprocess.run([str(command), *arguments], capture_output=True, text=True, **settings)

    return run


@pytest.fixture(scope="session")
def server(smollm2_bundle: Path, environment: dict[str, str]) -> Iterator[Running]:
    """The bundle as a server, for tests that only ask it something."""
    with serve([smollm2_bundle, "--server", "--metrics", "--slots"], environment) as running:
        yield running


@pytest.fixture(scope="session")
def two_model_bundle(pack: Path, smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the demo's model and a second one that is never asked for, in this order."""
    folder = tmp_path_factory.mktemp("two")
    second = folder / "second.gguf"
    shutil.copy2(smollm2_gguf, second)
    bundle = folder / "two.exe"
    models = [ModelFile(model_entry(check_model(path), path, None), path) for path in (smollm2_gguf, second)]
    with Pack.open(pack) as opened, bundle.open("xb+", buffering=0) as file:
        plan = BundlePlan("two", "two", [opened], models, models[0].model.path, "You are a helpful assistant.")
        write_bundle(plan, file, lambda _: None)
    bundle.chmod(0o755)
    return bundle
