"""The real engine: llama.cpp's server core, loaded from the bundle's native libraries and called through the bridge."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Iterator, Sequence
from ctypes import byref, c_char_p, c_float, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime import bridge
from solofile.runtime.errors import EngineError, InputError

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Phase, Request, State

CLIENT_CLOSED_REQUEST = 499  # the status of a call that was cancelled before it had one (nginx's number)

_PHASES: dict[int, Phase] = {
    bridge.LOADING: "loading",
    bridge.READY: "ready",
    bridge.FAILED: "failed",
    bridge.STOPPED: "stopped",
}


@dataclass(frozen=True)
class Member:
    """A file inside another: the core opens it as ``name`` and reads ``size`` bytes at ``offset`` of ``file``."""

    name: str
    file: Path
    offset: int
    size: int


class LlamaEngine:
    """An `engine_api.Engine` over one loaded model. One a process at a time."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._handle = handle
        self._lock = threading.Lock()
        self._open_calls = 0
        self._stopped = False

    @classmethod
    def start(
        cls, native_dir: Path, backend: Path, arguments: Sequence[str], members: Sequence[Member], log_level: int = 0
    ) -> LlamaEngine:
        """Load the native libraries of ``native_dir`` and the CPU ``backend``, and start loading the model.

        ``arguments`` are llama-server's, without a program name. Returns at once; the model loads on a thread of its
        own. ``log_level``: what llama.cpp prints on standard error, 0 nothing, 1 errors … 5 all.

        Raises InputError when an argument is wrong, EngineError when a library does not load.
        """
        library = bridge.load(native_dir)
        library.sf_log_level(log_level)
        error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
        if library.sf_backend_load(_utf8(backend), error, len(error)):
            raise EngineError(f"The CPU kernels cannot be used: {bridge.text(error)}.")
        for member in members:
            place = (_utf8(member.name), _utf8(member.file), member.offset, member.size)
            if library.sf_member_add(*place, error, len(error)):
                raise EngineError(f"The model {member.name} cannot be read: {bridge.text(error)}.")
        argv = (c_char_p * len(arguments))(*[_utf8(argument) for argument in arguments])
        handle = library.sf_engine_start(len(arguments), argv, error, len(error))
        if not handle:
            raise InputError(f"llama.cpp refuses the options: {bridge.text(error)}")
        return cls(library, handle)

    def state(self) -> State:
        """Where it stands now; never blocks."""
        from solofile.runtime.engine_api import State

        progress = c_float()
        message = ctypes.create_string_buffer(bridge.TEXT_SIZE)
        state = self._library.sf_engine_state(self._handle, byref(progress), message, len(message))
        return State(_PHASES[state], progress.value, bridge.text(message))

    def wait(self, timeout: float | None = None) -> State:
        """Block until it is not loading any more, or for ``timeout`` seconds."""
        self._library.sf_engine_wait(self._handle, -1 if timeout is None else int(timeout * 1000))
        return self.state()

    def call(self, request: Request) -> LlamaCall:
        """Prepare an answer; nothing is computed before `LlamaCall.run`."""
        return LlamaCall(self._library, self._handle, request)

    def stop(self, timeout: float = 2.0) -> None:
        """End the calls that are open and free the model.

        Raises EngineError when that took longer than ``timeout`` seconds, or the model is still loading: then the
        process should end without more ado.
        """
        with self._lock:
            if self._stopped:
                return
            if self._library.sf_engine_stop(self._handle, int(timeout * 1000)):
                raise EngineError(f"llama.cpp did not stop within {timeout:g} seconds.")
            self._stopped = True

    @property
    def routes(self) -> list[tuple[str, str]]:
        """(method, path pattern) of every route; a segment that starts with a colon is a parameter."""
        return [(route["method"], route["path"]) for route in json.loads(bridge.whole_text(self._library.sf_routes))]


class LlamaCall:
    """An `engine_api.Call`: one request to the core."""

    def __init__(self, library: ctypes.CDLL, engine: int, request: Request) -> None:
        self._library = library
        parts = (request.method, request.path, request.query)
        handle = library.sf_call_new(engine, *map(_utf8, parts), request.body, len(request.body))
        if not handle:
            raise EngineError("There is not enough memory for another request.")
        self._handle = handle
        for name, value in request.headers.items():
            library.sf_call_header(handle, _utf8(name), _utf8(value))
        for field, upload in request.files.items():
            facts = (field, upload.filename, upload.content_type)
            library.sf_call_file(handle, *map(_utf8, facts), upload.data, len(upload.data))

    def run(self) -> LlamaResponse:
        """Block until the status is known."""
        status = self._library.sf_call_run(self._handle)
        return LlamaResponse(self, status or CLIENT_CLOSED_REQUEST)

    def cancel(self) -> None:
        """From any thread: make `run` and the iteration of its answer end soon."""
        self._library.sf_call_cancel(self._handle)

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
            self._call.cancel()
            self._call = None


def _utf8(text: str | Path) -> bytes:
    return str(text).encode("utf-8", "surrogateescape")
