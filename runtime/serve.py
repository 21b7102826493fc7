"""The WSGI server: opened early, served on threads, stopped within a given time.

Why cheroot. `tests/benchmarks/wsgi_servers.py` measured what can be had from PyPI for Windows, too (2 cores, medians):

    server              client gone in silence   CPU a chunk, burst   streams begun of 64   TLS   import
    cheroot, as here    noticed in 0.1 s          8 us                64                    yes   0.12 s
    cheroot, as it is   never                    16 us                20                    yes   0.14 s
    werkzeug            never                    17 us                64                    yes   0.14 s
    granian             never                     9 us                10                    yes   0.14 s
    rocket3             never                     7 us                10                    yes   0.08 s
    waitress            never                    23 us                 4                    no    0.06 s
    hypercorn (WSGI)    never                   207 us                 6                    yes   0.24 s
    gevent              one stream in native code stops all others    yes   0.11 s

No server tells a WSGI app that its client has gone while it computes; only one whose connections can be reached from
Python can be taught to. rocket3 and hypercorn do not even notice when a write fails; granian has its own processes and
event loop in Rust, out of reach; werkzeug's is for development and closes the connection after every answer; waitress
has no TLS. cheroot is plain threads and sockets, each part of which can be replaced: see `httpd.py`.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from solofile.runtime.errors import InputError
from solofile.runtime.httpd import HttpServer, WSGIApp
from solofile.runtime.ports import FIRST_PORT, Listener, bind_sockets, close_all
from solofile.runtime.server_settings import ServerSettings
from solofile.runtime.streams import Streams
from solofile.runtime.watch import Watcher

if TYPE_CHECKING:
    import ssl

SPARE_THREADS = 4
"""Threads kept beyond one a core, for health checks and the page, as in llama-server."""

_LAST_WORDS = 0.2
"""Seconds that an answer which is complete needs at most to reach its client."""
OPEN_FILES = 16_384
"""Files and connections that a server may have open."""


class Server:
    """A WSGI app on its listening sockets."""

    def __init__(self, app: WSGIApp, listeners: list[Listener], settings: ServerSettings) -> None:
        """Serve ``app``; `InputError` where the TLS files cannot be used."""
        self.listeners = listeners
        self.watcher = Watcher()
        self.streams = Streams()
        self._tls = settings.tls
        self._prefix = settings.api_prefix
        self._stopped = threading.Event()
        kept = settings.threads if settings.threads > 0 else (os.cpu_count() or 1) + SPARE_THREADS
        self._servers = [
            HttpServer(app, listener, settings, self.watcher, self.streams, kept) for listener in listeners
        ]
        if settings.tls:
            context = tls_context(settings)
            for server in self._servers:
                server.use_tls(context)
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port that is really used; 0 where there are Unix sockets only."""
        return next((listener.port for listener in self.listeners if listener.port), 0)

    @property
    def urls(self) -> list[str]:
        """Where the page is, one a listener."""
        return [listener.url(tls=self._tls, prefix=self._prefix) for listener in self.listeners]

    @property
    def notes(self) -> list[str]:
        """Sentences that the user must be told, for example that the port moved."""
        return [listener.note for listener in self.listeners if listener.note]

    def start(self) -> None:
        """Accept connections, on threads of its own."""
        for server in self._servers:
            server.prepare()
            thread = threading.Thread(target=server.serve, name="solofile-accept", daemon=True)
            thread.start()
            self._threads.append(thread)

    def serve(self) -> None:
        """Serve until `stop` is called from another thread; KeyboardInterrupt passes through."""
        if not self._threads:
            self.start()
        # A wait without an end hears no signal on Windows, nor one that the kernel gives to another thread.
        while not self._stopped.wait(0.25):
            pass

    def quiet(self, grace: float = 2.0) -> None:
        """End the open answers within ``grace`` seconds, but not the listening: who comes now waits for the next."""
        end = time.monotonic() + grace
        self.watcher.cancel_all()
        self.streams.stop()
        time.sleep(min(grace, _LAST_WORDS))
        while self.watcher.open_calls and time.monotonic() < end:
            time.sleep(0.02)

    def stop(self, grace: float = 2.0) -> None:
        """End: cancel the open answers, give them ``grace`` seconds in all, close every socket."""
        self.watcher.cancel_all()
        self.streams.stop()
        stoppers = [threading.Thread(target=server.stop, args=(grace,), daemon=True) for server in self._servers]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(grace + 1)
        close_all(self.listeners)
        self._stopped.set()


def open_server(
    app: WSGIApp,
    settings: ServerSettings,
    port: int = FIRST_PORT,
    *,
    fixed: bool = True,
    listeners: list[Listener] | None = None,
) -> Server:
    """Bind, where ``listeners`` were not bound before, and make the server; nothing is served before `Server.start`."""
    raise_file_limit()
    bound = listeners or bind_sockets(settings.hosts, port, fixed=fixed, reuse_port=settings.reuse_port)
    try:
        return Server(app, bound, settings)
    except InputError:
        close_all(bound)
        raise


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each client is one, and many systems begin with 1,024."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def tls_context(settings: ServerSettings) -> ssl.SSLContext:
    """The TLS context of the user's certificate and key (PEM); `InputError` where they cannot be used."""
    import ssl  # 10 ms that a server without TLS need not pay

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for option, path in (("--ssl-cert-file", settings.ssl_cert_file), ("--ssl-key-file", settings.ssl_key_file)):
        try:
            if path is None or not path.read_bytes():
                raise InputError(f"{path} is empty: give {option} a PEM file.")
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): give {option} a PEM file.") from error
    try:
        # Without a callback OpenSSL would ask on the terminal for the passphrase of an encrypted key.
        context.load_cert_chain(str(settings.ssl_cert_file), str(settings.ssl_key_file), password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{settings.ssl_cert_file} and {settings.ssl_key_file} are no PEM certificate and its unencrypted key: "
            "give --ssl-cert-file and --ssl-key-file a matching pair."
        ) from error
    return context
