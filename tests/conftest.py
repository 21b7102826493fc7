"""What the tests of several areas need: the native libraries, the pack, the demo's bundle.

They come from the real commands and the real build cache, so a first run compiles llama.cpp. With SOLOFILE_SKIP_NATIVE
set, the tests that need any of it are skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from runners import Runner, all_runners, with_windows

KERNELS = "all"
"""As in a release: each of them that this machine can run is tried."""


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a shell makes its background jobs ignore it, and that is inherited."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs no native libraries first: a mistake there shows before llama.cpp is compiled."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "native_libraries" in names:
            item.add_marker("native")
        if "smollm2_bundle" in names:
            item.add_marker("e2e")
    items.sort(key=lambda item: (item.get_closest_marker("native") is not None) + ("e2e" in item.keywords))


@pytest.fixture(scope="session")
def solofile() -> list[str]:
    """The command line of the builder, as a program to start."""
    return [sys.executable, "-c", "import sys; from solofile.builder.cli import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def native_libraries(pytestconfig: pytest.Config) -> Path:
    """The cache entry of the native libraries, built by now."""
    if os.environ.get("SOLOFILE_SKIP_NATIVE"):
        pytest.skip("SOLOFILE_SKIP_NATIVE is set")
    from solofile.builder import native

    with _shown(pytestconfig):
        return native.build(kernels=KERNELS, reference=True).folder.parent


@pytest.fixture(scope="session")
def native_dir(native_libraries: Path) -> Path:
    """The folder of the native libraries."""
    return native_libraries / "lib"


@pytest.fixture(scope="session")
def reference_server(native_libraries: Path) -> Path:
    """llama-server, unchanged, from the same sources."""
    return native_libraries / "reference" / "llama-server"


@pytest.fixture(scope="session")
def pack(native_libraries: Path, pytestconfig: pytest.Config) -> Path:
    """The pack of this machine's target."""
    assert native_libraries.is_dir()
    from solofile.builder.pack import find_or_build

    with _shown(pytestconfig), find_or_build(kernels=KERNELS) as found:
        return found.path


@pytest.fixture(scope="session")
def smollm2_bundle(
    pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Path:
    """The demo's bundle, built by the real command line."""
    output = tmp_path_factory.mktemp("smollm2") / "smollm2.exe"
    with _shown(pytestconfig):
        command = [*solofile, "build", "smollm2-135m.toml", "-o", str(output), "--pack", str(pack)]
        subprocess.run(command, check=True, timeout=600)
    return output


@pytest.fixture(scope="session")
def smollm2_gguf(smollm2_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model as a plain file, taken out of the bundle by Python's own zipfile."""
    with zipfile.ZipFile(smollm2_bundle) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Wine, with a Windows of its own for these tests: to make one takes half a minute and 700 MB."""
    (found,) = (runner for runner in all_runners() if runner.name == "wine")
    if found.lack:
        pytest.skip(found.lack)
    with with_windows(found, tmp_path_factory.mktemp("wine")) as ready:
        yield ready


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Lets the progress of a build through to the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    shown: AbstractContextManager[None] = capture.global_and_fixture_disabled()
    return shown
