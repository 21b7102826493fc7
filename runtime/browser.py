"""Opening the page in the user's browser, where there is one to open."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

_OPENERS = (("xdg-open",), ("gio", "open"), ("wslview",), ("sensible-browser",), ("x-www-browser",))
_PATIENCE = 5.0
"""Seconds after which an opener that still runs has opened a browser, which some stay with."""

Say = Callable[[str], None]


def has_desktop(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Does the user sit in front of this machine's screen? Over SSH a forwarded display does not count."""
    if "SSH_CONNECTION" in environ:
        return False
    if platform in ("win32", "darwin") or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return True
    return "WSL_DISTRO_NAME" in environ and shutil.which("wslview") is not None  # the screen is Windows'


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for another program: without what makes this one find its own libraries."""
    cleaned = {name: value for name, value in environ.items() if not name.startswith(("SOLOFILE_", "_PYI_", "_MEI"))}
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        before = cleaned.pop(f"{name}_ORIG", None)
        cleaned.pop(name, None)
        if before:
            cleaned[name] = before
    return cleaned


def openers(platform: str = sys.platform) -> list[list[str]]:
    """The commands that may show a page, the best first."""
    if platform == "darwin":
        return [["/usr/bin/open"]]
    return [[found, *rest] for name, *rest in _OPENERS if (found := shutil.which(name))]


def show(url: str, environ: Mapping[str, str], say: Say) -> None:
    """Show ``url`` from within the sandbox or without one; what comes of it is found out on a thread."""
    from solofile.runtime import errands

    errand = errands.running()
    if errand is None:
        open_page(url, environ, say)
        return

    def work() -> None:
        try:
            answer = errand.run(errands.SHOW, {"url": url}) or {}
        except OSError:
            answer = {"told": [_failure(url)]}
        for sentence in answer.get("told", ()):
            say(sentence)

    if has_desktop(environ):
        threading.Thread(target=work, name="solofile-browser", daemon=True).start()


def open_page(
    url: str, environ: Mapping[str, str], say: Say, *, platform: str = sys.platform, wait: bool = False
) -> bool:
    """Show ``url``; False where there is no desktop, or nothing to show it with.

    What comes of it is found out on a thread, which ``wait`` waits for: ``say`` is told where every way failed.
    """
    if not has_desktop(environ, platform):
        return False
    if platform == "win32":
        return _show_on_windows(url, clean_environment(environ), say)
    commands = openers(platform)
    if not commands:
        say(_failure(url))
        return False
    work = threading.Thread(
        target=_try, args=(commands, url, clean_environment(environ), say), name="solofile-browser", daemon=True
    )
    work.start()
    if wait:
        work.join(_PATIENCE)
    return True


def _show_on_windows(url: str, environ: Mapping[str, str], say: Say) -> bool:
    from solofile.runtime import windows_calls

    shown = windows_calls.show_url(url, environ)
    if not shown:
        say(_failure(url))
    return shown


def _try(commands: Sequence[Sequence[str]], url: str, environ: Mapping[str, str], say: Say) -> None:
    """Run one command after the other until one does not fail; reaps what it started."""
    quiet = subprocess.DEVNULL
    for command in commands:
        try:
            process = subprocess.Popen(
                [*command, url], stdin=quiet, stdout=quiet, stderr=quiet, env=dict(environ), start_new_session=True
            )
        except OSError:
            continue
        try:
            failed = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.wait()
            return
        if not failed:
            return
    say(_failure(url))


def _failure(url: str) -> str:
    return f"No program to show the page with was found: open {url} in a browser."
