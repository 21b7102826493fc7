"""Where the cache can be: the first folder that this user, and nobody else, can write, and that libraries are loaded
from. The rules are those of runtime/launcher/cache.zig.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from solofile.runtime.errors import CacheError
from solofile.runtime.gpu_environment import home_folder

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple


class Candidate(NamedTuple):
    """A folder that may serve; ``personal`` ones lie in somebody's home, ``home`` is that if it has to be there."""

    path: str
    personal: bool = True
    home: str | None = None


def candidates(environ: Mapping[str, str], system: str, user: int, home: str) -> list[Candidate]:
    """The folders to look at, the best first. ``home`` is what the system's list of users says."""
    if system == "windows":
        return _windows(environ)
    below = "Library/Caches/solofile" if system == "macos" else ".cache/solofile"
    found = {}
    base = environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        found[f"{base}/solofile"] = Candidate(f"{base}/solofile")
    for folder in (environ.get("HOME", ""), home):
        if folder.startswith("/"):
            path = f"{folder.rstrip('/')}/{below}"
            found.setdefault(path, Candidate(path, home=folder))
    for base in ("/var/tmp", "/tmp"):
        found[base] = Candidate(f"{base}/solofile-{user}", personal=False)
    return list(found.values())


def _windows(environ: Mapping[str, str]) -> list[Candidate]:
    found = []
    if environ.get("LOCALAPPDATA"):
        found.append(Candidate(f"{environ['LOCALAPPDATA']}\\solofile"))
    if environ.get("USERPROFILE"):
        home = environ["USERPROFILE"]
        found.append(Candidate(f"{home}\\AppData\\Local\\solofile", home=home))
    if environ.get("TEMP"):
        found.append(Candidate(f"{environ['TEMP']}\\solofile"))
    return found


def choose(
    environ: Mapping[str, str], system: str, digests: list[str], megabytes: int, say: Callable[[str], None]
) -> str:
    """The cache folder, there and checked, with its ``packs`` and ``state``. Raises CacheError.

    ``digests`` name what is to be in it: a folder that cannot be written serves if all of it is there.
    """
    given = environ.get("SOLOFILE_CACHE")
    if given:
        path = os.path.abspath(given)  # noqa: PTH100 - as the user sees it, links and all
        reason = _fault(Candidate(path, personal=False), digests)
        if reason:
            raise CacheError(
                f"SOLOFILE_CACHE={path} cannot be used: {reason}; set SOLOFILE_CACHE to a folder of your own with "
                f"{megabytes} MB free that no other user can write and that programs can be started from."
            )
        return path
    for one in candidates(environ, system, _user(), home_folder()):
        reason = _fault(one, digests)
        if not reason:
            return one.path
        say(f"the cache folder {one.path} is passed over: {reason}.")
    raise CacheError(
        f"No cache folder can be used; set SOLOFILE_CACHE to a folder of your own with {megabytes} MB free."
    )


def _fault(one: Candidate, digests: list[str]) -> str:
    """Why the folder cannot be used, as the end of a sentence; empty where it can. What is missing is made."""
    try:
        if one.home is not None:
            Path(one.home).stat()
        ancestor = next(path for path in _upwards(one.path) if os.path.exists(path))  # noqa: PTH110
        owner = Path(ancestor).stat().st_uid
        if ancestor != one.path and one.personal and owner not in (_user(), 0):
            # Root with another user's HOME must not leave root's files in that user's home.
            return f"{ancestor} belongs to user {owner} and this is user {_user()}"
        if _is_noexec(ancestor):
            return "it is on a file system mounted noexec, no program can be started from it"
        packs = os.path.join(one.path, "packs")  # noqa: PTH118
        for folder in (one.path, packs, os.path.join(one.path, "state")):  # noqa: PTH118
            os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
            reason = distrust(folder, os.lstat(folder))
            if reason:
                return reason
    except OSError as error:
        return f"it cannot be reached or created ({error.strerror})"
    full = all(os.path.lexists(os.path.join(packs, digest)) for digest in digests)  # noqa: PTH118
    return "" if full or os.access(packs, os.W_OK | os.X_OK) else "it cannot be written"


def distrust(path: str, found: os.stat_result) -> str:
    """Why a folder is not trusted with what programs are started from; empty where it is."""
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is not a folder"
    if sys.platform == "win32":
        return ""  # the profile's rights are the rule there
    if found.st_uid != _user():
        return f"{path} belongs to user {found.st_uid} and this is user {_user()}"
    if found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        return f"others can write to {path} (mode {mode:04o}, chmod go-w takes that away)"
    return ""


def _upwards(path: str) -> Iterator[str]:
    while True:
        yield path
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent == path:
            return
        path = parent


def _is_noexec(path: str) -> bool:
    flag = getattr(os, "ST_NOEXEC", 0)
    return bool(flag and os.statvfs(path).f_flag & flag)


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0
