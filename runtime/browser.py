"""Opening the page in the user's browser, where there is one to open."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping

_OPENERS = (("xdg-open",), ("gio", "open"), ("wslview",), ("sensible-browser",), ("x-www-browser",))


def has_desktop(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Does the user sit in front of this machine's screen? Over SSH a forwarded display does not count."""
    if "SSH_CONNECTION" in environ:
        return False
    return platform in ("win32", "darwin") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for another program: without what makes this one find its own libraries."""
    cleaned = {name: value for name, value in environ.items() if not name.startswith(("SOLOFILE_", "_PYI_", "_MEI"))}
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        before = cleaned.pop(f"{name}_ORIG", None)
        cleaned.pop(name, None)
        if before:
            cleaned[name] = before
    return cleaned


def opener(platform: str = sys.platform) -> list[str] | None:
    """The command that shows a page, or None."""
    if platform == "darwin":
        return ["open"]
    for command in _OPENERS:
        if shutil.which(command[0]):
            return list(command)
    return None


def open_page(url: str, environ: Mapping[str, str]) -> bool:
    """Show ``url``; False where there is nothing to show it with. Never waits for the browser."""
    if not has_desktop(environ):
        return False
    if sys.platform == "win32":
        os.startfile(url)
        return True
    command = opener()
    if command is None:
        return False
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [*command, url],
            stdin=quiet, stdout=quiet, stderr=quiet, env=clean_environment(environ), start_new_session=True,
        )  # fmt: skip
    except OSError:
        return False
    threading.Thread(target=process.wait, name="solofile-browser", daemon=True).start()  # so that no zombie stays
    return True
