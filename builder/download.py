"""Downloads over the standard library's HTTP: gone on with after an interruption, bounded, redirected with care.

    <folder>/download.part       what has come so far; survives Ctrl-C, a broken connection and a restart
    <folder>/download.json       where it came from: URL, ETag, size; a beginning is only used with the file it is of

A server is asked to go on with ``Range`` and ``If-Range``, so one whose file has changed sends it anew. Whether the
bytes are the right ones the caller decides, by their SHA-256.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, NamedTuple, NoReturn
from urllib.response import addinfourl

from solofile.builder.errors import BadSource
from solofile.builder.paths import VARIABLE
from solofile.builder.progress import byte_size
from solofile.builder.tools import ProgressMaker

CHUNK = 1 << 20
TIMEOUT = 60
"""Seconds of silence after which a connection counts as broken."""

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a connection that broke off is made again; after the last one the user decides."""

SCHEMES = ("https", "http", "file")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Remote:
    """A file behind a URL: its name here, its size where somebody said it, and a token for the host of the URL.

    ``unchecked``: nobody knows its SHA-256, so a beginning is only gone on with where an ETag shows that it is of the
    same file.
    """

    url: str
    name: str
    size: int | None = None
    token: str | None = None
    unchecked: bool = False


class _Notes(NamedTuple):
    """What the server said when a download began."""

    etag: str | None
    size: int | None


class _Broken(Exception):  # noqa: N818 - reads as what happened
    """The connection ended too early; going on may help."""


class _StartOver(Exception):  # noqa: N818
    """What was kept does not belong to what the server has now."""


def check_url(url: str) -> urllib.parse.SplitResult:
    """The parts of a URL that can be fetched. Raises BadSource."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise BadSource(f"The URL {url} is none ({error}): check it.") from error
    if parts.scheme not in SCHEMES or (parts.scheme != "file" and not parts.hostname):
        raise BadSource(f"The URL {url} is none that solofile fetches: use https, http or file.")
    return parts


def is_open_to_changes(url: str) -> bool:
    """Could somebody on the way change what this URL brings? So it is with http, but for this machine's own."""
    parts = check_url(url)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def download(remote: Remote, folder: Path, progress: ProgressMaker) -> Path:
    """Fetch ``remote`` into ``folder``; the path of the whole file, whose content nobody has checked yet.

    Raises BadSource. What has come by then stays for the next call.
    """
    check_url(remote.url)
    partial = folder / "download.part"
    try:
        _fetch_all(remote, partial, progress)
    except KeyboardInterrupt as stop:
        if _size_of(partial):
            stop.args = (f"{byte_size(_size_of(partial))} of {remote.name} are kept, and the next run goes on there",)
        raise
    except (OSError, ValueError, http.client.HTTPException, _Broken) as error:
        _explain(remote, error)
    return partial


def forget(folder: Path) -> None:
    """Remove what a download has left in ``folder``."""
    for name in ("download.part", "download.json"):
        (folder / name).unlink(missing_ok=True)


def _fetch_all(remote: Remote, partial: Path, progress: ProgressMaker) -> None:
    """Fetch until the file is whole; after each break that brought something there is another attempt."""
    pauses = iter(PAUSES)
    before, anew = _size_of(partial), False
    while True:
        try:
            return _fetch_once(remote, partial, progress)
        except _StartOver as error:
            forget(partial.parent)
            if anew:
                raise BadSource(f"{remote.url} could not be fetched: {error}, and did so again.") from error
            before, anew = 0, True
            continue
        except (ConnectionError, TimeoutError, http.client.HTTPException, _Broken):
            pause = next(pauses, None)
            if pause is None or _size_of(partial) <= before:
                raise
        before = _size_of(partial)
        time.sleep(pause)


def _fetch_once(remote: Remote, partial: Path, progress: ProgressMaker) -> None:
    known = _read_notes(partial, remote.url)
    if known is not None and known.etag is None and remote.unchecked:
        known = None
    start = _size_of(partial) if known is not None else 0
    total = remote.size or (known.size if known else None)
    if start and start == total:
        return
    if total is not None and start > total:
        raise _StartOver("more has come than there is")
    headers = {"User-Agent": "solofile", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known is not None and known.etag:
            headers["If-Range"] = known.etag
    try:
        response = _open(remote, headers)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            raise _StartOver("the server has no more than what came before") from None
        raise
    with response:
        start, total = _where(response.headers, getattr(response, "status", None), start, total)
        total = remote.size if total is None else total
        if remote.size not in (None, total):
            raise BadSource(
                f"{remote.url} has {total} bytes in place of {remote.size}, so it is not the file that is meant: "
                "check the recipe."
            )
        _check_room(partial.parent, (total or 0) - start)
        _write_notes(partial, remote.url, response.headers, total)
        _receive(response, partial, start, total, progress, remote.name)


def _where(headers: Message, status: int | None, asked: int, known: int | None) -> tuple[int, int | None]:
    """Where in the file the answer begins, and the size of the whole file."""
    if status == 206:
        unit, _, rest = (headers.get("Content-Range") or "").partition(" ")
        span, _, whole = rest.partition("/")
        first, _, last = span.partition("-")
        sound = unit == "bytes" and first.isdigit() and last.isdigit() and whole.isdigit()
        if not sound or int(first) != asked or int(last) != int(whole) - 1 or known not in (None, int(whole)):
            raise _StartOver("the server answers with another part of the file than it was asked for")
        return asked, int(whole)
    length = headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _receive(
    response: addinfourl, partial: Path, start: int, total: int | None, progress: ProgressMaker, name: str
) -> None:
    done = start
    with partial.open("r+b" if start else "wb", buffering=0) as file, progress(f"Fetching {name}", total, "B") as shown:
        file.seek(start)
        read = getattr(response, "read1", response.read)  # read1 hands over what is there: little is lost at a break
        while chunk := read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            shown.update(done)
            if total is not None and done > total:
                raise _StartOver("the server sends more than it announced")
    if total is not None and done < total:
        raise _Broken(f"the connection ended after {done} of {total} bytes")


def _open(remote: Remote, headers: Mapping[str, str]) -> addinfourl:
    request = urllib.request.Request(remote.url, headers=dict(headers))
    if remote.token:  # not copied to where the host sends us
        request.add_unredirected_header("Authorization", f"Bearer {remote.token}")
    opener = urllib.request.build_opener(_Redirects)
    opened: addinfourl = opener.open(request, timeout=TIMEOUT)  # or a response of http.client, which is much the same
    return opened


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted address to one that is not."""

    def redirect_request(
        self, request: urllib.request.Request, file: IO[bytes], code: int, message: str, headers: Message, target: str
    ) -> urllib.request.Request | None:
        before, after = urllib.parse.urlsplit(request.full_url), urllib.parse.urlsplit(target)
        if before.scheme == "https" and after.scheme != "https":
            raise BadSource(
                f"{request.full_url} sends to {target}, which is not encrypted: give the address of the file itself."
            )
        return super().redirect_request(request, file, code, message, headers, target)  # type: ignore[arg-type]


def _read_notes(partial: Path, url: str) -> _Notes | None:
    """What is known of a kept beginning; None if there is none of this URL's."""
    try:
        notes = json.loads(partial.with_name("download.json").read_text("utf-8"))
        if notes["url"] != url or not partial.is_file():
            return None
        etag, size = notes["etag"], notes["size"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or not ours: the beginning is not used then
        return None
    return _Notes(etag if isinstance(etag, str) else None, size if isinstance(size, int) else None)


def _write_notes(partial: Path, url: str, headers: Message, size: int | None) -> None:
    etag = headers.get("ETag") or ""
    strong = etag if etag.startswith('"') else None  # a weak one may not be compared byte for byte
    text = json.dumps({"url": url, "etag": strong, "size": size})
    partial.with_name("download.json").write_text(text, "utf-8")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BadSource(
            f"There is no space in {folder} for another {byte_size(needed)} where {byte_size(free)} are free: "
            f"free some, or set {VARIABLE} to a folder elsewhere."
        )


def _explain(remote: Remote, error: Exception) -> NoReturn:
    """Turn what went wrong into a sentence."""
    if isinstance(error, urllib.error.HTTPError):
        with contextlib.closing(error):
            raise BadSource(f"{remote.url} could not be fetched ({error.reason}): {_advice(error.code)}.") from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise BadSource(f"There is no space left for {remote.name}: free some; the next run goes on there.") from error
    reason = getattr(error, "reason", None) or error
    text = os.strerror(reason.errno) if isinstance(reason, ConnectionError) and reason.errno else None
    said = text or getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    remedy = "check the network" if isinstance(reason, OSError) else "try it later"
    raise BadSource(
        f"{remote.url} could not be fetched ({said}): {remedy}, then run the command again, it goes on from there."
    ) from error


def _advice(code: int) -> str:
    if code in (401, 403):
        return "it wants a login; accept the model's terms on its page and set HF_TOKEN, or get the file by hand"
    if code in (404, 410):
        return "there is no such file; check the name"
    return "the server cannot serve it now; run the command again later"
