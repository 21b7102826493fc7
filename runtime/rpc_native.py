"""ggml's RPC backend: its functions, called from Python. Its sockets come from here (native/rpc/given_sockets.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path

from solofile.runtime.bridge import utf8
from solofile.runtime.errors import EngineError
from solofile.runtime.hardware import target
from solofile.runtime.library_names import library_file

NAME = "rpc"
"""The backend's, as selection.library takes it."""

NO_SOCKET = -1

Connect = Callable[[str, int], int]
Accept = Callable[[], int]

_GPU, _IGPU = 1, 2  # enum ggml_backend_dev_type
_CONNECT = ctypes.CFUNCTYPE(c_int64, c_char_p, c_int)
_ACCEPT = ctypes.CFUNCTYPE(c_int64)

_kept: list[tuple[object, object]] = []
"""What the backend calls, to the end of the process."""


class Rpc:
    """The backend, loaded once a process; the CPU's and the GPU's libraries are there before (engine.prepare)."""

    def __init__(self, native_dir: Path, library: Path) -> None:
        self._rpc = ctypes.CDLL(str(library))
        self._ggml = ctypes.CDLL(str(native_dir / library_file("ggml", target())))
        start = self._rpc.ggml_backend_rpc_start_server
        start.restype, start.argtypes = None, [c_char_p, c_char_p, c_size_t, c_size_t, POINTER(c_void_p)]
        add = self._rpc.ggml_backend_rpc_add_server
        add.restype, add.argtypes = c_void_p, [c_char_p]
        init = self._rpc.ggml_backend_rpc_init
        init.restype, init.argtypes = c_void_p, [c_char_p, c_uint32]
        self._rpc.sf_rpc_transport.restype = None
        for name, result, arguments in (
            ("ggml_backend_register", None, [c_void_p]),
            ("ggml_backend_dev_count", c_size_t, []),
            ("ggml_backend_dev_get", c_void_p, [c_size_t]),
        ):
            function = getattr(self._ggml, name)
            function.restype, function.argtypes = result, arguments

    def sockets(self, connect: Connect | None = None, accept: Accept | None = None) -> None:
        """Where the backend's sockets come from: functions that return `NO_SOCKET` when there is none."""
        connects = _CONNECT((lambda host, port: connect(host.decode(), port)) if connect else 0)
        accepts = _ACCEPT(accept or 0)
        _kept.append((connects, accepts))
        self._rpc.sf_rpc_transport(connects, accepts)

    def add(self, label: str) -> None:
        """Make the devices of the worker with this label (``host:port`` for llama.cpp) known to all that computes."""
        # Never freed, and so the connection stays: llama.cpp would make a new one for every question before the load.
        self._rpc.ggml_backend_rpc_init(utf8(label), 0)
        found = self._rpc.ggml_backend_rpc_add_server(utf8(label))
        if not found:
            raise EngineError(f"The worker {label} has no devices: start it again.")
        self._ggml.ggml_backend_register(found)

    def serve(self, cache: Path | None, threads: int, devices: list[int]) -> None:
        """Answer client after client until there is none any more; ``devices`` by their numbers in the registry."""
        handles = (c_void_p * len(devices))(*[self._ggml.ggml_backend_dev_get(number) for number in devices])
        folder = utf8(cache) if cache is not None else None
        self._rpc.ggml_backend_rpc_start_server(b"127.0.0.1:0", folder, threads, len(devices), handles)
