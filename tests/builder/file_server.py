"""A file server on loopback that breaks off, lies, redirects, dawdles: whatever a download may meet."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DATA = bytes(range(256)) * 20_000


class FileServer(http.server.ThreadingHTTPServer):
    """Serves ``data`` under every path; the fields say what it does wrong."""

    daemon_threads = True
    scheme = "http"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = DATA
        self.etag: str | None = '"one"'
        self.cuts: list[int] = []
        """Offsets in the file at which the next answers break off."""
        self.ranges = True
        self.shift = 0
        """How far from where it was asked to a partial answer begins, and says so."""
        self.lie = 0
        """How far from where it says it does a partial answer begins."""
        self.redirect: str | None = None
        self.length = True
        self.pause = 0.0
        self.status = 0
        self.seen: list[tuple[str | None, str | None]] = []
        self.tokens: list[str | None] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/some/Tiny%20Model.gguf?download=1"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [one for one, _ in self.seen]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has left."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.tokens.append(self.headers["Authorization"])
        server.seen.append((asked, self.headers["If-Range"]))
        if server.redirect:
            target, server.redirect = server.redirect, None
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        if server.status:
            self.send_error(server.status)
            return
        start = int(asked[6:-1]) if asked and server.ranges else 0
        if self.headers["If-Range"] not in (None, server.etag):
            start = 0
        if start >= len(server.data):
            self.send_error(416)
        else:
            self._send(start)

    def _send(self, start: int) -> None:
        server, whole = self.server, len(self.server.data)
        self.send_response(206 if start else 200)
        first = start + server.shift if start else 0
        if start:
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.length:
            self.send_header("Content-Length", str(whole - first))
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else whole
        if server.pause:
            middle = (first + end) // 2
            self.wfile.write(server.data[first:middle])
            time.sleep(server.pause)
            first = middle
        lie = server.lie if start else 0
        self.wfile.write((server.data[first - lie :] + bytes(lie))[: end - first])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(server: FileServer) -> Iterator[FileServer]:
    """``server`` answers as long as the block lasts."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, made by openssl."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not there to make a certificate with")
    path = folder / "loopback.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def encrypted(server: FileServer, folder: Path) -> FileServer:
    """``server`` with TLS, by the certificate in ``folder``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "loopback.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    return server
