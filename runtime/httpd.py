"""HTTP/1.1 for a WSGI app: cheroot's parser and connections, with our threads, limits and errors.

What is ours and why:

- the socket is given, bound long before; cheroot would bind its own, and take file 3 where LISTEN_PID is set,
- a chunk of a streamed answer is one send, without the layers of buffers in between,
- the TLS handshake is made by a worker: cheroot makes it on the thread that accepts, so one idle client stops all,
- an idle connection has `IDLE_TIMEOUT`, a request's head `HEAD_SECONDS` in all and its body what `slowest` allows, so
  that a client of one byte a second is let go; a piece of an answer has `SEND_SECONDS` to be taken,
- large bodies are let in until all of them together would be too much memory,
- a connection gets a thread when it has sent something, and not when it is accepted,
- errors before the app is reached are llama.cpp's JSON,
- ``environ["solofile.watch"]`` tells the app when the client has gone (see `watch.py`),
- ``environ["solofile.stream"]`` lets the app leave an answer open that takes no thread (see `streams.py`).
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from cheroot import connections, makefile, server, wsgi
from solofile.runtime.deadlines import Deadline, Deadlines
from solofile.runtime.http_errors import STREAM_KEY, WATCH_KEY
from solofile.runtime.streams import Streams
from solofile.runtime.uploads import Uploads
from solofile.runtime.watch import Watcher
from solofile.runtime.wire import ChunkedBody, KnownBody, Sender, bare_answer
from solofile.runtime.workers import Workers

if TYPE_CHECKING:
    import ssl

    from solofile.runtime.ports import Listener
    from solofile.runtime.server_settings import ServerSettings

IDLE_TIMEOUT = 30
"""Seconds that a connection may wait for a request."""

HEAD_SECONDS = 30
BODY_SECONDS = 30
BODY_RATE = 8 * 1024
"""A head may take so many seconds, a body so many and one more for each `BODY_RATE` bytes of it."""

SEND_SECONDS = 120
"""Seconds in which a client must take a piece of its answer; a system buffers a few MB of them for it."""

MAX_HEAD = 64 * 1024
"""Bytes of request line and header fields."""

KEPT_CONNECTIONS = 480 if sys.platform == "win32" else 8192
"""Idle connections; select() of Windows takes 512."""

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 1.0
"""How much of an unwanted body is swallowed so that its sender reads why it was unwanted."""

# Idle connections are counted by the wall clock there, which may jump.
connections.time = SimpleNamespace(time=time.monotonic, sleep=time.sleep)  # type: ignore[attr-defined]

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger("solofile.http")


class Request(server.HTTPRequest):
    """One request and its answer."""

    def read_request_headers(self) -> bool:
        """Read the header fields and refuse bodies of unclear length."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        self.conn.wfile.send()  # 100 Continue
        length = self.inheaders.get(b"Content-Length")
        if length is not None and (not length.isdigit() or self.chunked_read):
            self.close_connection = True
            self.simple_response("400 Bad Request", "The length of the body is not clear.")
            return False
        return True

    def respond(self) -> None:
        """Answer, under the user's timeout."""
        self.conn.deadline.close()
        self.conn.socket.settimeout(self.server.busy_timeout)
        length = None if self.chunked_read else int(self.inheaders.get(b"Content-Length", 0))
        with self.server.uploads.room() as room:
            if length is not None and length <= self.server.max_body and not room.take(length):
                self.conn.unread = True
                self.simple_response("429 Too Many Requests", "Too much is being uploaded: send it again in a moment.")
                return
            slowest = BODY_SECONDS + (self.server.max_body if length is None else length) / BODY_RATE
            with self.conn.let_go_after(slowest) as deadline:
                if length is None:
                    self.rfile = ChunkedBody(self.conn.rfile, self.server.max_body, room.take, deadline)
                else:
                    self.rfile = KnownBody(self.conn.rfile, length, deadline)
                self.server.gateway(self).respond()
                self.ensure_headers_sent()
        self._finish()

    def _finish(self) -> None:
        if self.conn.asked_to_stream and self.chunked_write:
            self.conn.wfile.send()
            self.conn.streamed, self.close_connection = True, False
            return
        self.conn.wfile.send(b"0\r\n\r\n" if self.chunked_write else b"")
        self.conn.socket.settimeout(self.server.timeout)

    def write(self, chunk: bytes) -> None:
        """Send one piece of the body, in one piece."""
        self.conn.wfile.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self.chunked_write else chunk)

    def send_headers(self) -> None:
        """Send status and header fields; an unread body ends the connection instead of being read for nothing."""
        if getattr(self.rfile, "remaining", 0) > 0 or (self.chunked_read and not self.rfile.ended):
            self.close_connection = self.conn.unread = True
        self.conn.socket.settimeout(min(SEND_SECONDS, self.server.busy_timeout))
        super().send_headers()

    def simple_response(self, status: str, msg: str = "") -> None:
        """An error that the app is not asked about."""
        self.close_connection = True
        if self.conn.deadline.passed:
            status, msg = "408 Request Timeout", f"The request did not come within {HEAD_SECONDS} seconds."
        with suppress(OSError):
            self.conn.wfile.send(bare_answer(str(status), str(msg)))


class Connection(server.HTTPConnection):
    """A client's connection."""

    RequestHandlerClass = Request
    rbufsize = 32 * 1024
    """More than a TLS record: what TLS has read and we have not would go unnoticed while the connection rests."""
    known = False
    greeted = False
    unread = False
    asked_to_stream = False
    streamed = False
    deadline: Deadline

    def __init__(self, owner: HttpServer, sock: socket.socket, makefile: Any = makefile.MakeFile) -> None:
        """Take an accepted socket."""
        super().__init__(owner, sock, makefile)
        self.wfile = Sender(sock)
        if owner.listener.unix_path is None:
            # Not every system hands this down from the listening socket; without it a token waits 40 ms for an ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def communicate(self) -> bool:
        """Answer one request; whether the connection stays open."""
        with self.let_go_after(HEAD_SECONDS) as self.deadline:
            if not self.greeted:
                self.greeted = True
                if self.server.tls is not None and not self._shake_hands():
                    return False
            return bool(super().communicate())  # type: ignore[no-untyped-call]

    def let_go_after(self, seconds: float) -> Deadline:
        """Read no more of this client after so many seconds, unless the deadline was closed before."""
        deadlines: Deadlines = self.server.deadlines
        return deadlines.within(seconds, self._read_no_more)

    def _read_no_more(self) -> None:
        with suppress(OSError):  # else the client went just now
            socket.socket.shutdown(self.socket, socket.SHUT_RD)

    def _shake_hands(self) -> bool:
        try:
            self.socket.do_handshake()
        except OSError as error:
            log.debug("A TLS handshake failed: %s", error)
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                with suppress(OSError):
                    answer = bare_answer("400 Bad Request", "This server speaks TLS: use https.")
                    socket.socket.send(self.socket, answer)
            return False
        return True

    def close(self) -> None:
        """Close, over TLS with a goodbye that waits for nothing."""
        if self.server.tls is not None and self.greeted:
            with suppress(OSError, ValueError):
                self.socket.settimeout(0)
                self.socket.unwrap()
        if self.unread:
            self._drain()
        super().close()

    def _drain(self) -> None:
        """Swallow some of an unwanted body: closed at once, the connection would be reset and the answer lost."""
        end = time.monotonic() + DRAIN_SECONDS
        swallowed = 0
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            self.socket.settimeout(DRAIN_SECONDS)
            while swallowed < DRAIN_BYTES and time.monotonic() < end:
                part = socket.socket.recv(self.socket, 65536)
                if not part:
                    return
                swallowed += len(part)


class Gateway(wsgi.Gateway_10):
    """Hands a request to the app."""

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        """The WSGI environment, with the watch on this client."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        owner, sock = self.req.server, self.req.conn.socket
        watcher: Watcher = owner.watcher
        environ[WATCH_KEY] = partial(watcher.watch, sock)
        if self.req.response_protocol == "HTTP/1.1":
            environ[STREAM_KEY] = self._leave_open
        return environ

    def respond(self) -> None:
        """Have the app answer. Its answer is closed whatever happens: what it holds is counted."""
        response = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            for chunk in response:
                if chunk:
                    self.write(chunk)
        finally:
            try:
                self.req.ensure_headers_sent()
            finally:
                if hasattr(response, "close"):
                    response.close()

    def _leave_open(self) -> Streams | None:
        owner, conn = self.req.server, self.req.conn
        if owner.streams.full:
            return None
        conn.asked_to_stream = True
        streams: Streams = owner.streams
        return streams


class Tls:
    """What cheroot calls to put TLS on a connection; the handshake comes later, on a worker."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Use ``context``, which holds certificate and key."""
        self._context = context

    def wrap(self, sock: socket.socket) -> tuple[socket.socket, dict[str, str]]:
        """The TLS socket for an accepted one."""
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}

    makefile = staticmethod(makefile.MakeFile)


class HttpServer(wsgi.Server):
    """Serves one listening socket."""

    ConnectionClass = Connection

    def __init__(
        self, app: WSGIApp, listener: Listener, settings: ServerSettings, watcher: Watcher, streams: Streams, kept: int
    ) -> None:
        """Serve ``app`` on ``listener``, with ``kept`` threads at hand; without TLS until `use_tls`."""
        bound: Any = listener.unix_path or (listener.host, listener.port)
        super().__init__(bound, app, server_name="solofile", timeout=IDLE_TIMEOUT)
        self.listener = listener
        self.watcher = watcher
        self.streams = streams
        self.gateway = Gateway
        self.requests = Workers(self, kept)
        self.deadlines = Deadlines()
        self.uploads = Uploads()
        self.busy_timeout = settings.timeout
        self.max_body = settings.max_body
        self.max_request_header_size = MAX_HEAD
        self.keep_alive_conn_limit = KEPT_CONNECTIONS
        self.tls: Tls | None = None

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS on every connection that comes from now on."""
        self.tls = self.ssl_adapter = Tls(context)

    def prepare(self) -> None:
        """Take the listening socket; from here on connections are accepted by `serve`."""
        self.software = self.server_name
        self.socket = self.listener.socket
        self.socket.settimeout(1)
        self._connections = connections.ConnectionManager(self)
        self.requests.start()
        self._start_time = time.time()
        self.ready = True

    def serve(self) -> None:
        """Accept connections until `stop`."""
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except Exception:
                if self.ready:
                    log.exception("Accepting connections failed.")
                    time.sleep(0.1)  # for example no file descriptor left: do not spin

    def process_conn(self, conn: Connection) -> None:
        """Have the request that waits in ``conn`` answered; a new client that says nothing takes no thread."""
        if conn.known:
            self.requests.put(conn)
        else:
            conn.known = True
            self._connections.put(conn)

    def put_conn(self, conn: Any) -> None:
        """Take back a connection whose request was answered."""
        if conn.streamed:
            self.streams.take(conn)
        else:
            super().put_conn(conn)

    def stop(self, grace: float = 2.0) -> None:
        """Accept nothing more, end the open requests within ``grace`` seconds."""
        if not self.ready:
            return
        self.ready = False
        with suppress(OSError):
            # Wakes the thread that accepts; where a system does not, it notices within half a second.
            self.socket.shutdown(socket.SHUT_RDWR)
        self._connections.stop()
        self.socket.close()
        self._connections.close()
        self.requests.stop(grace)
        self.deadlines.stop()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """What cheroot has to say."""
        log.log(level if level >= logging.WARNING else logging.DEBUG, "%s", msg, exc_info=traceback)
