"""The real engine: llama.cpp's server core, loaded from the bundle's native libraries and called through the bridge."""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_uint64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime import bridge
from solofile.runtime.bridge import utf8
from solofile.runtime.engine_call import LlamaCall
from solofile.runtime.errors import EngineError, InputError

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Phase, Request, State

_ESTIMATE_SIZE = 1 << 16  # bytes; a longer text would cost the whole estimate once more

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
        self._stopped = False
        self._started = time.monotonic()

    @classmethod
    def start(
        cls,
        native_dir: Path,
        backends: Sequence[Path],
        arguments: Sequence[str],
        members: Sequence[Member],
        log_level: int = 0,
        *,
        read_first: Sequence[str] = (),
        calibrate: str = "",
        stored_prompts: bool = False,
    ) -> LlamaEngine:
        """Load the native libraries of ``native_dir`` and the ``backends``, and start loading the model.

        ``backends`` begin with the CPU's. ``arguments`` are llama-server's, without a program name. Returns at once;
        the model loads on a thread of its own. ``log_level``: what llama.cpp prints on standard error, 0 nothing,
        1 errors … 5 all. ``read_first`` names members that are read from beginning to end before; ``calibrate`` is the
        JSON of `sf_calibration_ask` (bridge.h), empty for no calibration. With ``stored_prompts`` nothing is answered
        before `give_prompts` was called.

        Raises InputError when an argument is wrong, EngineError when a library does not load.
        """
        library = prepare(native_dir, backends, members, log_level)
        for name in read_first:
            if library.sf_read_first(utf8(name)):
                raise EngineError(f"There is no {name} to be read: add it to the members.")
        library.sf_calibration_ask(utf8(calibrate))
        if stored_prompts:
            library.sf_prompts_ask()
        error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
        handle = library.sf_engine_start(len(arguments), _argv(arguments), error, len(error))
        if not handle:
            raise InputError(f"llama.cpp refuses the options: {bridge.text(error)}")
        return cls(library, handle)

    def state(self) -> State:
        """Where it stands now; never blocks."""
        from solofile.runtime.engine_api import State

        reading = self.reading()
        if reading is not None:
            from solofile.runtime.reading import line

            done, total = reading
            message = line("Reading", done, total, time.monotonic() - self._started)
            return State("loading", done / max(1, total), message)
        progress = c_float()
        text = ctypes.create_string_buffer(bridge.TEXT_SIZE)
        state = self._library.sf_engine_state(self._handle, byref(progress), text, len(text))
        return State(_PHASES[state], progress.value, bridge.text(text))

    def reading(self) -> tuple[int, int] | None:
        """(done, total) bytes of the members that are read first; None when nothing is read any more, or yet."""
        done, total = c_uint64(), c_uint64()
        if not self._library.sf_engine_reading(self._handle, byref(done), byref(total)):
            return None
        return done.value, total.value

    def busy(self) -> float:
        """Seconds that the batch under way has been computed for, 0 when there is none; for whoever waits for a GPU."""
        milliseconds = c_uint64()
        self._library.sf_engine_busy(self._handle, byref(milliseconds))
        return milliseconds.value / 1000

    def calibration(self) -> dict[str, Any] | None:
        """What was measured, as `sf_calibration` in bridge.h names it; None before that, or where none was wished."""
        text = bridge.whole_text(lambda *place: self._library.sf_calibration(self._handle, *place))
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def give_prompts(self, files: Sequence[Path]) -> None:
        """Have the states in ``files`` restored into the slots 0, 1, … when the model is loaded; there may be none."""
        self._library.sf_prompts_give(self._handle, len(files), _argv([str(file) for file in files]))

    def prompts(self) -> list[dict[str, Any]] | None:
        """How that went, as `sf_prompts` in bridge.h names it; None before all were tried."""
        text = bridge.whole_text(lambda *place: self._library.sf_prompts(self._handle, *place))
        found: list[dict[str, Any]] | None = json.loads(text) if text else None
        return found

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


def prepare(native_dir: Path, backends: Sequence[Path], members: Sequence[Member], log_level: int = 0) -> ctypes.CDLL:
    """Load the native libraries and the ``backends``, and make the ``members`` known: what all that computes needs.

    May be called again in the same process. Raises EngineError.
    """
    library = bridge.load(native_dir)
    library.sf_log_level(log_level)
    if len(backends) > 1:  # a GPU's among them
        from solofile.runtime import gpu_environment

        gpu_environment.clean()
    error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
    for number, backend in enumerate(backends):
        if library.sf_backend_load(utf8(backend), error, len(error)):
            kind = "GPU" if number else "CPU"
            raise EngineError(f"The {kind} kernels cannot be used: {bridge.text(error)}.")
    for member in members:
        place = (utf8(member.name), utf8(member.file), member.offset, member.size)
        if library.sf_member_add(*place, error, len(error)):
            raise EngineError(f"The model {member.name} cannot be read: {bridge.text(error)}.")
    return library


def estimate(library: ctypes.CDLL, arguments: Sequence[str]) -> dict[str, Any]:
    """What a model would take with llama-server's ``arguments``, in bytes; `sf_estimate` in bridge.h names the fields.

    ``library`` comes from `prepare`. Where it cannot be found out, the result is ``{"error": sentence}``.
    """
    out = ctypes.create_string_buffer(_ESTIMATE_SIZE)
    library.sf_estimate(len(arguments), _argv(arguments), out, len(out))
    found: dict[str, Any] = json.loads(bridge.text(out) or '{"error": "out of memory"}')
    return found


def resident(library: ctypes.CDLL, name: str) -> int | None:
    """How many bytes of a member are in the page cache; None where the system does not say."""
    size = c_uint64()
    return None if library.sf_member_resident(utf8(name), byref(size)) else size.value


def _argv(arguments: Sequence[str]) -> ctypes.Array[c_char_p]:
    return (c_char_p * len(arguments))(*[utf8(argument) for argument in arguments])
