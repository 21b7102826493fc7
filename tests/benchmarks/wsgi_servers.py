"""Which WSGI server streams tokens best: the measurements behind the choice in `runtime/serve.py`.

    python tests/benchmarks/wsgi_servers.py [--rounds 5] [--servers solofile,cheroot,waitress]

Every server runs the same small app in a process of its own. The rounds are interleaved; the table shows medians and,
in brackets, the smallest and largest of the rounds. Servers that are not installed are left out. "solofile" is cheroot
as `runtime/httpd.py` uses it, "solofile+flask" the same under the real app and a scripted engine.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import importlib.util
import json
import os
import re
import selectors
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

HERE = Path(__file__).resolve()
PADDING = b"x" * 180
STAMP = re.compile(rb"data: (\d+) ")
RATE = 100
"""Chunks a second in all, as a small model makes them on two cores."""

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Any]

IMPORTS = {
    "solofile": "import solofile.runtime.serve",
    "solofile+flask": "import solofile.runtime.serve, solofile.runtime.app",
    "cheroot": "import cheroot.wsgi",
    "waitress": "import waitress",
    "werkzeug": "import werkzeug.serving",
    "gevent": "import gevent.pywsgi",
    "hypercorn": "import hypercorn.asyncio",
    "granian": "import granian",
    "rocket3": "import rocket3",
}

# --- the app -------------------------------------------------------------------------------------------------

gone: list[float] = []
"""When the streams that were left noticed it."""


class Stream:
    """Chunks with the time of their making, ``gap`` seconds apart (0: as fast as they go); the first comes at once."""

    def __init__(self, count: int, gap: float, watch: Any) -> None:
        self._count, self._gap, self._ended = count, gap, False
        self.left = threading.Event()
        self._watch = watch(self.left.set) if watch is not None else None

    def __iter__(self) -> Iterator[bytes]:
        due = time.monotonic()
        for _ in range(self._count):
            yield b"data: %d %b\n\n" % (time.monotonic_ns(), PADDING)
            due += self._gap
            if self._gap and self.left.wait(max(0.0, due - time.monotonic())):
                return
        self._ended = True

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if not self._ended:
            gone.append(time.monotonic())


def application(environ: Environ, start_response: Callable[..., Any]) -> Any:
    """``/health``, ``/stream?n=…&gap=…``, ``/facts``."""
    path = environ["PATH_INFO"]
    if path == "/stream":
        query = parse_qs(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return Stream(int(query["n"][0]), float(query["gap"][0]), environ.get("solofile.watch"))
    body = facts() if path == "/facts" else b'{"status":"ok"}'
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def facts() -> bytes:
    """What the process that answers used up: CPU seconds, resident memory in MB, when clients were noticed gone."""
    status = Path("/proc/self/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text("ascii")) if status.exists() else None
    memory = int(found[1]) / 1024 if found else 0.0
    return json.dumps({"cpu": time.process_time(), "memory": memory, "gone": gone}).encode()


class PlayedCall:
    """An `engine_api.Call` and its Response in one: plays a `Stream`."""

    status = 200
    headers = (("Content-Type", "text/event-stream"),)

    def __init__(self, query: str) -> None:
        given = parse_qs(query)
        self._stream = Stream(int(given["n"][0]), float(given["gap"][0]), None)
        self.cancel = self._stream.left.set
        self.close = self._stream.close

    def run(self) -> PlayedCall:
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)


def flask_application() -> App:
    """The real app; an engine without a model plays the streams."""
    from solofile.runtime.app import create_app
    from solofile.runtime.engine_api import State
    from solofile.runtime.server_settings import About, ServerSettings

    class PlayingEngine:
        def state(self) -> State:
            return State("ready")

        def call(self, request: Any) -> PlayedCall:
            return PlayedCall(request.query)

    engine: Any = PlayingEngine()
    app = create_app(engine, ServerSettings(), About("benchmark"))
    app.add_url_rule("/facts", "facts", facts)

    def renamed(environ: Environ, start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/stream":
            environ["PATH_INFO"] = "/v1/stream"
        return app.wsgi_app(environ, start_response)

    return renamed


# --- the servers ---------------------------------------------------------------------------------------------


def module(name: str) -> Any:
    """An imported module that need not be installed where types are checked."""
    return importlib.import_module(name)


def serve(name: str, port: int, tls: tuple[str, str] | None) -> None:
    """Run the server ``name``; with ``tls`` (certificate, key) where it can."""
    runners = {
        "solofile": lambda: _solofile(application, port, tls),
        "solofile+flask": lambda: _solofile(flask_application(), port, tls),
        "cheroot": lambda: _cheroot(port, tls),
        "waitress": lambda: _waitress(port, tls),
        "werkzeug": lambda: _werkzeug(port, tls),
        "gevent": lambda: _gevent(port, tls),
        "hypercorn": lambda: _hypercorn(port, tls),
        "granian": lambda: _granian(port, tls),
        "rocket3": lambda: _rocket(port, tls),
    }
    runners[name]()


def _solofile(app: App, port: int, tls: tuple[str, str] | None) -> None:
    from solofile.runtime.serve import open_server
    from solofile.runtime.server_settings import ServerSettings

    files = {"ssl_cert_file": Path(tls[0]), "ssl_key_file": Path(tls[1])} if tls else {}
    open_server(app, ServerSettings(**files), port).serve()  # type: ignore[arg-type]


def _cheroot(port: int, tls: tuple[str, str] | None) -> None:
    from cheroot import wsgi

    server = wsgi.Server(("127.0.0.1", port), application)
    if tls:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(*tls)
    server.start()


def _waitress(port: int, tls: tuple[str, str] | None) -> None:
    if tls:
        raise SystemExit("waitress has no TLS")
    module("waitress").serve(application, host="127.0.0.1", port=port, _quiet=True)


def _werkzeug(port: int, tls: tuple[str, str] | None) -> None:
    import logging

    from werkzeug.serving import WSGIRequestHandler, run_simple

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    run_simple("127.0.0.1", port, application, threaded=True, ssl_context=tls)


def _gevent(port: int, tls: tuple[str, str] | None) -> None:
    files = {"certfile": tls[0], "keyfile": tls[1]} if tls else {}
    module("gevent.pywsgi").WSGIServer(("127.0.0.1", port), application, log=None, **files).serve_forever()


def _hypercorn(port: int, tls: tuple[str, str] | None) -> None:
    import asyncio

    config = module("hypercorn.config").Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    if tls:
        config.certfile, config.keyfile = tls
    asyncio.run(module("hypercorn.asyncio").serve(application, config, mode="wsgi"))


def _granian(port: int, tls: tuple[str, str] | None) -> None:
    os.chdir(HERE.parent)
    sys.path.insert(0, str(HERE.parent))
    files = {"ssl_cert": Path(tls[0]), "ssl_key": Path(tls[1])} if tls else {}
    target = f"{HERE.stem}:application"
    options: dict[str, Any] = {
        "interface": module("granian.constants").Interfaces.WSGI,
        "blocking_threads": 10,
        "log_enabled": False,
        **files,
    }
    module("granian").Granian(target, address="127.0.0.1", port=port, **options).serve()


def _rocket(port: int, tls: tuple[str, str] | None) -> None:
    interface = ("127.0.0.1", port, tls[1], tls[0]) if tls else ("127.0.0.1", port)
    module("rocket3").Rocket3(interface, "wsgi", {"wsgi_app": application}).start()


# --- the client ----------------------------------------------------------------------------------------------


class Running:
    """A server in a process of its own."""

    def __init__(self, name: str, tls: tuple[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        command = [sys.executable, str(HERE), "--serve", name, "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *(["--tls", *tls] if tls else [])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._tls = tls is not None

    def __enter__(self) -> Running:
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                self.get("/health")
                return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("the server does not answer")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> bytes:
        if self._tls:
            context = ssl._create_unverified_context()
            plain: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=5, context=context
            )
        else:
            plain = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(plain) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/facts"))
        return found

    def stream(self, count: int, gap: float) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        request = f"GET /stream?n={count}&gap={gap} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        return sock


def latencies(running: Running, streams: int, seconds: float) -> list[float]:
    """Milliseconds from the making of each chunk until it is here; ``RATE`` chunks a second over all streams."""
    found: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(streams):
            time.sleep(1 / RATE)  # the slots of a batch answer one after the other, too
            sock = running.stream(int(seconds * RATE / streams), streams / RATE)
            selector.register(sock, selectors.EVENT_READ)
        begun = time.monotonic_ns()
        end = time.monotonic() + seconds * 3 + 5
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(1):
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                now = time.monotonic_ns()
                found += [(now - int(stamp)) / 1e6 for stamp in STAMP.findall(data) if int(stamp) > begun]
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    return found


def streaming(running: Running, streams: int, seconds: float = 2.0) -> dict[str, float]:
    """Latency and CPU of chunks at ``streams`` streams."""
    before = running.facts()["cpu"]
    found = sorted(latencies(running, streams, seconds))
    used = running.facts()["cpu"] - before
    if not found:
        return {}
    return {
        f"ms a chunk, {streams} streams": statistics.median(found),
        f"p99 ms, {streams} streams": found[int(len(found) * 0.99) - 1],
        f"CPU us a chunk, {streams} streams": used / len(found) * 1e6,
    }


def burst(running: Running, count: int = 20000) -> float:
    """CPU microseconds of one chunk where the app takes next to nothing."""
    before = running.facts()["cpu"]
    with closing(running.stream(count, 0)) as sock:
        while sock.recv(65536):
            pass
    return float((running.facts()["cpu"] - before) / count * 1e6)


def first_chunk(running: Running) -> float:
    """Milliseconds until the first chunk of a stream is here whose second comes a second later."""
    begun = time.monotonic()
    with closing(running.stream(2, 1.0)) as sock:
        data = b""
        while not STAMP.search(data):
            part = sock.recv(65536)
            if not part:
                break
            data += part
        return (time.monotonic() - begun) * 1000


def notice(running: Running, gap: float) -> float:
    """Milliseconds until the app knows that a client left, 5000 where it does not within 5 s."""
    sock = running.stream(1000, gap)
    sock.recv(100)
    time.sleep(0.3)
    before = len(running.facts()["gone"])
    left = time.monotonic()
    sock.close()
    while time.monotonic() - left < 5:
        with suppress(OSError):
            seen = running.facts()["gone"]
            if len(seen) > before:
                return float((seen[-1] - left) * 1000)
        time.sleep(0.02)
    return 5000.0


def requests_a_second(running: Running, connections: int = 8, seconds: float = 2.0) -> float:
    """Answers to ``/health`` over connections that stay open."""
    counts = [0] * connections
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
            while time.monotonic() < end:
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                data = b""
                while not data.endswith(b"}"):
                    try:
                        part = sock.recv(4096)
                    except TimeoutError:
                        return
                    if not part:
                        return
                    data += part
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def streams_at_once(running: Running, wanted: int = 64) -> float:
    """How many of ``wanted`` streams, opened together and lasting longer, have begun after 2 seconds."""
    begun = 0
    socks = []
    with selectors.DefaultSelector() as selector:
        for _ in range(wanted):
            with suppress(OSError):
                socks.append(running.stream(100, 0.1))
                selector.register(socks[-1], selectors.EVENT_READ)
        end = time.monotonic() + 2
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(0.1):
                begun += bool(key.fileobj.recv(4096))  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
    for sock in socks:
        sock.close()
    return float(begun)


def import_cpu(name: str) -> float:
    """CPU milliseconds that importing the server adds to Python's own start."""
    code = f"import time; begun = time.process_time(); {IMPORTS[name]}; print(time.process_time() - begun)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) * 1000


def has_tls(name: str, certificate: tuple[str, str] | None) -> float:
    """1 where it answers over TLS."""
    if certificate is None:
        return float("nan")
    try:
        with Running(name, certificate):
            return 1.0
    except RuntimeError:
        return 0.0


def measure(name: str) -> dict[str, float]:
    """Everything about one server, once; what it cannot do is left out."""
    figures = {"import, CPU ms": import_cpu(name)}
    groups: list[Callable[[Running], dict[str, float]]] = [
        lambda running: {"first chunk, ms": first_chunk(running)},
        lambda running: streaming(running, 1),
        lambda running: streaming(running, 8),
        lambda running: {"CPU us a chunk, burst": burst(running)},
        lambda running: {
            "health answers a second": requests_a_second(running),
            "memory, MB": running.facts()["memory"],
        },
        lambda running: {"client gone, streaming, ms": notice(running, 0.05)},
        lambda running: {"client gone, silent, ms": notice(running, 6.0)},
        lambda running: {"streams begun of 64": streams_at_once(running)},
    ]
    for group in groups:
        try:
            with Running(name) as running:
                figures |= group(running)
        except (RuntimeError, OSError, ValueError, http.client.HTTPException) as error:
            print(f"  {type(error).__name__}: {error}", file=sys.stderr)
    return figures


# --- the table -----------------------------------------------------------------------------------------------


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Rows of figures, a column a server."""
    names = list(results)
    labels = list(dict.fromkeys(label for rounds in results.values() for figures in rounds for label in figures))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for label in labels:
        cells = [cell([figures[label] for figures in results[name] if label in figures]) for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """Median and spread, or a dash."""
    if not values:
        return "–"
    figures = (statistics.median(values), min(values), max(values))
    shown = [f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in figures]
    return f"{shown[0]} ({shown[1]}…{shown[2]})"


def certificate_in(folder: Path) -> tuple[str, str] | None:
    """A self-made certificate and its key, None without the openssl command."""
    if shutil.which("openssl") is None:
        return None
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", *options, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def installed(name: str) -> bool:
    """Whether the server can be imported."""
    return importlib.util.find_spec(IMPORTS[name].split()[1].split(".")[0].rstrip(",")) is not None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default=",".join(IMPORTS))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tls", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.port, tuple(given.tls) if given.tls else None)
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in given.servers.split(",") if installed(name)}
    with tempfile.TemporaryDirectory() as folder:
        certificate = certificate_in(Path(folder))
        for name, rounds in results.items():
            rounds.append({"TLS": has_tls(name, certificate)})
    for number in range(given.rounds):
        for name, rounds in results.items():
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            rounds.append(measure(name))
    print(table(results))


if __name__ == "__main__":
    main()
