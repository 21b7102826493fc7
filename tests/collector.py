"""Where an OpenTelemetry exporter sends its traces to."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any


class Collector(http.server.HTTPServer):
    """Keeps the path and the document of all that is posted, from `listen` on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, Any]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Any]:
        """All of the first scope of each document."""
        return [span for _, one in self.got for span in one["resourceSpans"][0]["scopeSpans"][0]["spans"]]

    def listen(self) -> None:
        """Answer from now on, on a thread."""
        self._thread.start()

    def server_close(self) -> None:
        """End."""
        self.shutdown()
        self._thread.join()
        super().server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
