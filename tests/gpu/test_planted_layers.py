"""A driver or a layer of Vulkan that lies where the environment says is never loaded; the browser sees all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import left_behind
from running import serve
from solofile.runtime import gpu_environment
from zig_cc import marking_library

pytestmark = pytest.mark.e2e

FORCED = ["--gpu", "vulkan", "-p", "the the", "-n", "4"]

MAKE_INSTANCE = """
import ctypes
class Info(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint),
                ("application", ctypes.c_void_p), ("layers", ctypes.c_uint), ("layer_names", ctypes.c_void_p),
                ("extensions", ctypes.c_uint), ("extension_names", ctypes.c_void_p)]
info, instance = Info(1), ctypes.c_void_p()
ctypes.CDLL("libvulkan.so.1").vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a driver and a layer in each place below it where Vulkan's loader could look for them; they leave a
    mark when they are loaded."""
    folder = tmp_path_factory.mktemp("planted")
    library = marking_library(folder)
    driver = {"file_format_version": "1.0.0", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
    layer = {
        "file_format_version": "1.2.0",
        "layer": {
            "name": "VK_LAYER_planted", "type": "GLOBAL", "library_path": str(library), "api_version": "1.3.0",
            "implementation_version": "1", "description": "planted", "disable_environment": {"NO_PLANTED": "1"},
        },
    }  # fmt: skip
    for base in (folder, folder / ".config", folder / ".local/share"):
        for kind, document in (("icd.d", driver), ("implicit_layer.d", layer)):
            (base / "vulkan" / kind).mkdir(parents=True)
            (base / "vulkan" / kind / "planted.json").write_text(json.dumps(document))
    return folder


PLACES = ("XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "HOME")


def named(place: str, planted: Path) -> dict[str, str]:
    """An environment in which one variable names the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return {**kept, "SOLOFILE_CACHE": "", place: str(planted)}


@pytest.mark.usefixtures("lavapipe")
@pytest.mark.parametrize("place", PLACES)
def test_they_would_leave_a_mark(planted: Path, place: str) -> None:
    subprocess.run([sys.executable, "-c", MAKE_INSTANCE], env=named(place, planted), check=False, timeout=60)
    assert (planted / "mark").exists()
    (planted / "mark").unlink()


@pytest.mark.usefixtures("lavapipe")
@pytest.mark.parametrize("place", PLACES)
def test_nothing_planted_is_loaded(planted: Path, tiny_bundle: Path, gpu_cache: Path, place: str) -> None:
    environment = {**named(place, planted), "SOLOFILE_CACHE": str(gpu_cache)}
    state = gpu_cache / "state"
    for book in state.glob("choice-*.json") if state.is_dir() else ():
        book.unlink()  # so that the devices are listed and tried once more
    for words in (FORCED, FORCED, ["--gpu", "vulkan", "--doctor"]):
        done = subprocess.run(
            [tiny_bundle, *words], env=environment, capture_output=True, errors="replace", timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not (planted / "mark").exists(), f"{words}: it was loaded"
    assert left_behind(gpu_cache) == []


@pytest.mark.usefixtures("lavapipe")
def test_what_drivers_compile_stays_in_the_cache(planted: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    home = gpu_environment.home_folder()
    places = [Path(home, ".cache", "mesa_shader_cache")] if home else []
    before = [sorted(place.rglob("*")) for place in places]
    variables = {"XDG_CACHE_HOME": elsewhere, "HOME": elsewhere, "MESA_SHADER_CACHE_DIR": elsewhere}
    environment = {**named("XDG_DATA_HOME", planted), **{name: str(path) for name, path in variables.items()}}
    environment["SOLOFILE_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([tiny_bundle, *FORCED], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not elsewhere.exists()
    assert [sorted(place.rglob("*")) for place in places] == before
    if not (tmp_path / "cache/drivers").is_dir():
        pytest.skip("this driver keeps nothing")
    assert (tmp_path / "cache/drivers").stat().st_mode & 0o022 == 0


@pytest.mark.usefixtures("lavapipe")
def test_the_browser_sees_what_it_needs(planted: Path, tiny_bundle: Path, gpu_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    opener, seen = tmp_path / "bin/xdg-open", tmp_path / "seen"
    opener.write_text(f"#!/bin/sh\nenv >{seen}.new\nmv {seen}.new {seen}\n")
    opener.chmod(0o755)
    desktop = {name: str(planted) for name in PLACES} | {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_CURRENT_DESKTOP": "X"}
    environment = {**named("HOME", planted), **desktop, "SOLOFILE_CACHE": str(gpu_cache), "DISPLAY": ":0"}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    environment.pop("SSH_CONNECTION", None)
    with serve([tiny_bundle, "--gpu", "vulkan"], environment, limit=120) as running:
        assert "libvulkan" in Path(f"/proc/{running.model_pid()}/maps").read_text()
        end = time.monotonic() + 30
        while not seen.exists() and time.monotonic() < end:
            time.sleep(0.1)
    told = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert {name: told.get(name) for name in desktop} == desktop
    assert not (planted / "mark").exists()
