"""One request to llama.cpp's server core, and its answer."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

from solofile.runtime.bridge import utf8
from solofile.runtime.errors import EngineError

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Request

CLIENT_CLOSED_REQUEST = 499  # the status of a call that was cancelled before it had one (nginx's number)


class LlamaCall:
    """An `engine_api.Call`: one request to the core."""

    def __init__(self, library: ctypes.CDLL, engine: int, request: Request) -> None:
        self._library = library
        parts = (request.method, request.path, request.query)
        handle = library.sf_call_new(engine, *map(utf8, parts), request.body, len(request.body))
        if not handle:
            raise EngineError("There is not enough memory for another request.")
        self._handle = handle
        for name, value in request.headers.items():
            library.sf_call_header(handle, utf8(name), utf8(value))
        for field, upload in request.files.items():
            facts = (field, upload.filename, upload.content_type)
            library.sf_call_file(handle, *map(utf8, facts), upload.data, len(upload.data))

    def run(self) -> LlamaResponse:
        """Block until the status is known."""
        status = self._library.sf_call_run(self._handle)
        return LlamaResponse(self, status or CLIENT_CLOSED_REQUEST)

    def cancel(self) -> None:
        """From any thread: make `run` and the iteration of its answer end soon."""
        self._library.sf_call_cancel(self._handle)

    def end(self) -> None:
        """Cancel, and free the slot now: whoever else still knows this call (a traceback, the watch) may keep it for
        long, and the slot with it."""
        self.cancel()
        data, size = c_void_p(), c_size_t()
        while self._library.sf_call_next(self._handle, byref(data), byref(size)):
            pass

    def __del__(self) -> None:
        self._library.sf_call_free(self._handle)


class LlamaResponse:
    """An `engine_api.Response`: the answer to a `LlamaCall`."""

    def __init__(self, call: LlamaCall, status: int) -> None:
        self._call: LlamaCall | None = call
        self._library: Any = call._library
        self.status = status
        self.headers = self._read_headers(call._handle)

    def _read_headers(self, handle: int) -> list[tuple[str, str]]:
        content_type = self._library.sf_call_content_type(handle).decode()
        headers = [("Content-Type", content_type)] if content_type else []
        name, value = c_char_p(), c_char_p()
        while self._library.sf_call_answer_header(handle, len(headers) - bool(content_type), byref(name), byref(value)):
            headers.append(((name.value or b"").decode(), (value.value or b"").decode()))
        return headers

    def __iter__(self) -> Iterator[bytes]:
        """Block for chunk after chunk until the answer ends."""
        data, size = c_void_p(), c_size_t()
        more = True
        while more and (call := self._call) is not None:
            more = bool(self._library.sf_call_next(call._handle, byref(data), byref(size)))
            if size.value:
                yield ctypes.string_at(data.value or 0, size.value)

    def close(self) -> None:
        """End the answer and free what it holds; may be called again."""
        if self._call is not None:
            self._call.end()
            self._call = None
