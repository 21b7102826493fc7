"""The app before the app: answers `/health` while Flask is still being imported.

Importing Flask takes longer than loading a small model. The door needs neither: it takes requests at once, answers
health itself, and has everything else wait for the real app, which is made on a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from solofile.runtime.health import HEALTH_PATHS, health_answer
from solofile.runtime.http_errors import JSON_TYPE, error_body

if TYPE_CHECKING:
    from solofile.runtime.engine_api import State
    from solofile.runtime.httpd import WSGIApp

_REASONS = {200: "OK", 500: "Internal Server Error", 503: "Service Unavailable"}


class Door:
    """A WSGI app that stands in for one which is still being made."""

    def __init__(self, state: Callable[[], State], make: Callable[[], WSGIApp], *, prefix: str = "") -> None:
        """Begin to ``make`` the real app; ``state`` is the engine's, ``prefix`` the settings' API prefix."""
        self._state = state
        self._health = frozenset(prefix + path for path in HEALTH_PATHS)
        self._app: WSGIApp | None = None
        self._error: BaseException | None = None
        self._made = threading.Event()
        self._make = make
        threading.Thread(target=self._run, name="solofile-app", daemon=True).start()

    def _run(self) -> None:
        try:
            self._app = self._make()
        except BaseException as error:  # handed to whoever waits
            self._error = error
        finally:
            self._made.set()

    def wait(self, timeout: float | None = None) -> WSGIApp | None:
        """The real app, None while it is not there; raises what making it raised."""
        self._made.wait(timeout)
        if self._error is not None:
            raise self._error
        return self._app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        app = self._app
        if app is None and environ.get("PATH_INFO") in self._health and environ.get("REQUEST_METHOD") == "GET":
            return _answer(start_response, *health_answer(self._state()))
        if app is None:
            self._made.wait()
            app = self._app
        if app is None:
            return _answer(start_response, 500, error_body(500, "The HTTP app could not be made: see the messages."))
        return app(environ, start_response)


def _answer(start_response: Callable[..., Any], status: int, body: bytes) -> list[bytes]:
    fields = [("Content-Type", JSON_TYPE), ("Content-Length", str(len(body)))]
    start_response(f"{status} {_REASONS[status]}", fields)
    return [body]
