"""What child_main.py has llama.cpp do, through the bridge that bundles have: lay a model out, render a template."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from ctypes import byref, c_char_p, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from solofile.builder.child import Refused, Unusable
from solofile.runtime import bridge
from solofile.runtime.bridge import utf8
from solofile.runtime.errors import EngineError

_NAME = "model.gguf"
_ESTIMATE_SIZE = 1 << 16
_OPTIONS = ("-m", _NAME, "-c", "512", "-np", "1", "-ngl", "0", "-t", "1", "--no-warmup")


def layout(job: dict[str, Any], news: Callable[[Any], None]) -> dict[str, Any]:  # noqa: ARG001
    """Have llama.cpp read the model of ``job``, its vocabulary and all, and place every tensor without loading it."""
    library = _library(job)
    out = ctypes.create_string_buffer(_ESTIMATE_SIZE)
    library.sf_estimate(len(_OPTIONS), _argv(_OPTIONS), out, len(out))
    found: dict[str, Any] = json.loads(bridge.text(out) or '{"error": "out of memory"}')
    if "error" in found:
        raise Refused(str(found["error"]).strip().rstrip("."))
    return {"layers": found["layers"], "context_train": found["context_train"]}


def render(job: dict[str, Any], news: Callable[[Any], None]) -> dict[str, Any]:
    """Render each of the conversations of ``job`` by the template of the stand-in model: the text, or what is wrong."""
    library = _library(job)
    error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
    options = (*_OPTIONS, *job["options"])
    engine = library.sf_engine_start(len(options), _argv(options), error, len(error))
    if not engine:
        raise Refused(bridge.text(error).strip().rstrip("."))
    if library.sf_engine_wait(engine, -1) != bridge.READY:
        library.sf_engine_state(engine, byref(ctypes.c_float()), error, len(error))
        raise Refused(bridge.text(error).strip().rstrip("."))
    news("ready")
    return {"rendered": {name: _apply(library, engine, one) for name, one in job["conversations"].items()}}


def _apply(library: ctypes.CDLL, engine: int, conversation: dict[str, Any]) -> dict[str, str]:
    body = json.dumps(conversation).encode()
    call = library.sf_call_new(engine, b"POST", b"/apply-template", b"", body, len(body))
    try:
        status = library.sf_call_run(call)
        answer = json.loads(_body(library, call))
    finally:
        library.sf_call_free(call)
    if status != 200:
        return {"problem": str(answer.get("error", {}).get("message", f"status {status}"))}
    return {"text": str(answer["prompt"])}


def _body(library: ctypes.CDLL, call: int) -> bytes:
    data, size, pieces, more = c_void_p(), c_size_t(), [], True
    while more:
        more = bool(library.sf_call_next(call, byref(data), byref(size)))
        if size.value:
            pieces.append(ctypes.string_at(data.value or 0, size.value))
    return b"".join(pieces)


def _library(job: dict[str, Any]) -> ctypes.CDLL:
    """The bridge, with the first kernel that this CPU can run and the model of ``job``."""
    folder = Path(job["libraries"])
    error = ctypes.create_string_buffer(bridge.TEXT_SIZE)
    try:
        library = bridge.load(folder)
    except EngineError as problem:
        raise Unusable(str(problem)) from problem
    library.sf_log_level(0)
    kernels = sorted(folder.glob("libggml-cpu-*.so"))
    if not any(library.sf_backend_load(utf8(kernel), error, len(error)) == 0 for kernel in kernels):
        raise Unusable("none of the kernels runs on this CPU")
    place = (utf8(_NAME), utf8(job["file"]), job["start"], job["size"])
    if library.sf_member_add(*place, error, len(error)):
        raise Refused(bridge.text(error))
    return library


def _argv(arguments: tuple[str, ...]) -> ctypes.Array[c_char_p]:
    return (c_char_p * len(arguments))(*[utf8(argument) for argument in arguments])
