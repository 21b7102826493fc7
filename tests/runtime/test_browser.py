"""Opening the page: where there is a desktop, and with what, on each system."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from solofile.runtime import browser, windows_calls

URL = "http://127.0.0.1:8080/"
DESKTOP = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("environ", "platform", "desktop"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "a b c d"}, "linux", False),
        ({}, "win32", True),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "a b c d"}, "darwin", False),
        ({"SSH_CONNECTION": "a b c d"}, "win32", False),
    ],
)
def test_desktop(environ: dict[str, str], platform: str, desktop: bool) -> None:
    assert browser.has_desktop(environ, platform) == desktop


def test_windows_is_the_desktop_of_its_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not browser.has_desktop({"WSL_DISTRO_NAME": "Debian"}, "linux")
    tool(tmp_path, "wslview", "exit 0")
    assert browser.has_desktop({"WSL_DISTRO_NAME": "Debian"}, "linux")


def test_browser_gets_an_environment_of_its_own() -> None:
    ours = {"SOLOFILE_CACHE_DIR": "x", "_MEIPASS2": "y", "HOME": "/h"}
    libraries = {"LD_LIBRARY_PATH": "/frozen", "LD_LIBRARY_PATH_ORIG": "/before"}
    assert browser.clean_environment({**ours, **libraries}) == {"HOME": "/h", "LD_LIBRARY_PATH": "/before"}
    assert browser.clean_environment({"LD_LIBRARY_PATH": "/frozen"}) == {}


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for all of PATH but the shell's own programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def written(file: Path, limit: float = 5.0) -> str:
    end = time.monotonic() + limit
    while not (file.exists() and file.read_text().endswith("\n")) and time.monotonic() < end:
        time.sleep(0.01)
    return file.read_text() if file.exists() else ""


def test_without_a_desktop_nothing_is_opened(path: Path) -> None:
    tool(path, "xdg-open", "exit 0")
    assert not browser.open_page(URL, {}, pytest.fail, platform="linux")


def test_linux_takes_what_the_path_offers(path: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tool(path, "xdg-open", f'echo "$1 $SOLOFILE_BUNDLE" > {seen}')
    environ = {**DESKTOP, "SOLOFILE_BUNDLE": "/bundle"}
    assert browser.open_page(URL, environ, pytest.fail, platform="linux")
    assert written(seen) == f"{URL} \n"


def test_what_fails_is_followed_by_the_next(path: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tool(path, "xdg-open", "exit 3")
    tool(path, "sensible-browser", f'echo "$1" > {seen}')
    assert browser.open_page(URL, DESKTOP, pytest.fail, platform="linux")
    assert written(seen) == f"{URL}\n"


def test_where_all_fail_it_is_said(path: Path) -> None:
    said: list[str] = []
    assert not browser.open_page(URL, DESKTOP, said.append, platform="linux")
    tool(path, "xdg-open", "exit 3")
    assert browser.open_page(URL, DESKTOP, said.append, platform="linux", wait=True)
    assert said == [f"No program to show the page with was found: open {URL} in a browser."] * 2


def test_a_browser_that_stays_in_the_foreground_is_not_waited_for(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "_PATIENCE", 0.2)
    seen = tmp_path / "seen"
    tool(path, "xdg-open", f'echo "$1" > {seen}; exec /bin/sleep 1')
    tool(path, "sensible-browser", f"echo second > {seen}")
    begin = time.monotonic()
    assert browser.open_page(URL, DESKTOP, pytest.fail, platform="linux")
    assert time.monotonic() - begin < 0.2
    assert written(seen) == f"{URL}\n"
    time.sleep(0.4)
    assert written(seen) == f"{URL}\n"


def test_macos_opens_by_its_own_program() -> None:
    assert browser.openers("darwin") == [["/usr/bin/open"]]


def test_windows_opens_as_a_link_does(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], int]] = []
    refused: list[int] = []

    def popen(command: list[str], *, creationflags: int, **_: object) -> None:
        started.append((command, creationflags))
        if creationflags in refused:
            raise OSError("Access is denied")

    monkeypatch.setattr(windows_calls.subprocess, "Popen", popen)
    said: list[str] = []
    leaves_the_job, stays = 0x01000008, 0x00000008
    shown = [r"D:\Windows\System32\rundll32.exe", "url.dll,FileProtocolHandler", URL]
    for flags in ([leaves_the_job], [leaves_the_job, stays]):
        started.clear()
        assert browser.open_page(URL, {"SystemRoot": r"D:\Windows"}, said.append, platform="win32")
        assert (started, said) == ([(shown, flag) for flag in flags], [])
        refused.append(flags[-1])
    assert not browser.open_page(URL, {}, said.append, platform="win32")
    assert said == [f"No program to show the page with was found: open {URL} in a browser."]
