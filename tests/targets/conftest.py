"""The demo's bundle for each target that can be run here, and how it is run."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from runners import Runner, all_runners
from solofile.builder.pack import find_or_build


@pytest.fixture(scope="session", params=all_runners(), ids=lambda runner: runner.name)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Each way to run programs that this machine has."""
    found: Runner = request.param
    if found.lack:
        pytest.skip(found.lack)
    windows: Runner = request.getfixturevalue("wine") if found.name == "wine" else found
    return windows


@pytest.fixture(scope="session")
def target_pack(runner: Runner, native_libraries: Path, pytestconfig: pytest.Config) -> Path:
    """The pack of the runner's target, with few kernels."""
    assert native_libraries.is_dir()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with ExitStack() as stack:
        stack.enter_context(capture.global_and_fixture_disabled())
        return stack.enter_context(find_or_build(runner.target, kernels=runner.kernels)).path


@pytest.fixture(scope="session")
def target_bundle(target_pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundle for the runner's target."""
    output = tmp_path_factory.mktemp("bundle") / "smollm2.exe"
    command = [*solofile, "build", "smollm2-135m.toml", "--pack", str(target_pack), "-o", str(output)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    return output


@pytest.fixture(scope="session")
def target_cache(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of these tests."""
    return tmp_path_factory.mktemp(f"cache-{runner.name}") / "solofile"
