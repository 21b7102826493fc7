"""ctypes declarations of the bridge, the C interface over llama.cpp's server core (native/bridge/bridge.h)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_float, c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path

from solofile.runtime.errors import EngineError
from solofile.runtime.hardware import target
from solofile.runtime.library_names import library_file

ABI_VERSION = 3
TEXT_SIZE = 4096  # bytes of a message buffer, the closing zero included

LOADING, READY, FAILED, STOPPED = range(4)

# name -> (result, arguments); see bridge.h for what each does.
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "sf_abi_version": (c_int, []),
    "sf_backend_load": (c_int, [c_char_p, POINTER(c_char), c_size_t]),
    "sf_member_add": (c_int, [c_char_p, c_char_p, c_uint64, c_uint64, POINTER(c_char), c_size_t]),
    "sf_log_level": (None, [c_int]),
    "sf_options": (c_size_t, [POINTER(c_char), c_size_t]),
    "sf_routes": (c_size_t, [POINTER(c_char), c_size_t]),
    "sf_cpu": (c_size_t, [POINTER(c_char), c_size_t]),
    "sf_devices": (c_size_t, [POINTER(c_char), c_size_t]),
    "sf_probe": (c_int, [c_char_p, POINTER(c_char), c_size_t]),
    "sf_estimate": (c_size_t, [c_int, POINTER(c_char_p), POINTER(c_char), c_size_t]),
    "sf_calibration_ask": (None, [c_char_p]),
    "sf_read_first": (c_int, [c_char_p]),
    "sf_prompts_ask": (None, []),
    "sf_member_resident": (c_int, [c_char_p, POINTER(c_uint64)]),
    "sf_engine_start": (c_void_p, [c_int, POINTER(c_char_p), POINTER(c_char), c_size_t]),
    "sf_engine_state": (c_int, [c_void_p, POINTER(c_float), POINTER(c_char), c_size_t]),
    "sf_engine_wait": (c_int, [c_void_p, c_int]),
    "sf_engine_reading": (c_int, [c_void_p, POINTER(c_uint64), POINTER(c_uint64)]),
    "sf_engine_busy": (c_int, [c_void_p, POINTER(c_uint64)]),
    "sf_calibration": (c_size_t, [c_void_p, POINTER(c_char), c_size_t]),
    "sf_prompts_give": (None, [c_void_p, c_int, POINTER(c_char_p)]),
    "sf_prompts": (c_size_t, [c_void_p, POINTER(c_char), c_size_t]),
    "sf_engine_stop": (c_int, [c_void_p, c_int]),
    "sf_engine_free": (None, [c_void_p]),
    "sf_call_new": (c_void_p, [c_void_p, c_char_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "sf_call_header": (None, [c_void_p, c_char_p, c_char_p]),
    "sf_call_file": (None, [c_void_p, c_char_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "sf_call_run": (c_int, [c_void_p]),
    "sf_call_content_type": (c_char_p, [c_void_p]),
    "sf_call_answer_header": (c_int, [c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_char_p)]),
    "sf_call_next": (c_int, [c_void_p, POINTER(c_void_p), POINTER(c_size_t)]),
    "sf_call_cancel": (None, [c_void_p]),
    "sf_call_free": (None, [c_void_p]),
}

# In the order in which they need each other.
LIBRARIES = ("ggml-base", "ggml", "llama")


def load(native_dir: Path) -> ctypes.CDLL:
    """The bridge library of ``native_dir``, ready to be called.

    Each library is loaded by its full path, so that the loader takes them as the dependencies of the next one and asks
    no search path (LD_LIBRARY_PATH comes before the folder that a library names itself).

    Raises EngineError when a library is missing, does not load, or has another interface.
    """
    try:
        for name in (library_file(name, target()) for name in LIBRARIES):
            library = ctypes.CDLL(str(native_dir / name))
    except OSError as error:
        raise EngineError(f"The native library {name} did not load ({error}): copy the bundle again.") from error
    for function, (result, arguments) in _FUNCTIONS.items():
        pointer = getattr(library, function)
        pointer.restype, pointer.argtypes = result, arguments
    if library.sf_abi_version() != ABI_VERSION:
        raise EngineError(f"The native library {native_dir / name} is of another version: build the pack again.")
    return library


def utf8(text: str | Path) -> bytes:
    """What the bridge takes as text."""
    return str(text).encode("utf-8", "surrogateescape")


def text(buffer: ctypes.Array[c_char]) -> str:
    """The text that the bridge has put into ``buffer``."""
    return buffer.value.decode("utf-8", "replace")


def whole_text(function: object) -> str:
    """The text of a bridge function that takes (out, size) and returns the length it needs."""
    size = function(None, 0)  # type: ignore[operator]
    buffer = ctypes.create_string_buffer(size + 1)
    function(buffer, size + 1)  # type: ignore[operator]
    return text(buffer)
