"""What child_main.py has llama.cpp's quantizer do, through llama-cpp-python's low-level bindings."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from solofile.builder.child import Refused, Unusable

_TENSOR = re.compile(r"\[ *\d+/ *\d+\] (\S+) +- \[")
_SIZE = re.compile(r"size = +([0-9.]+) MiB(?: -> +([0-9.]+) MiB)?")
_SLAB = 256 << 20
"""Bytes of a tensor that are worked on at once; how many they are changes no byte of the result."""

_ERROR_LEVEL = 4


def quantize(job: dict[str, Any], news: Callable[[Any], None]) -> dict[str, Any]:
    """Quantize ``source`` to ``target`` by the file type ``number``; for a ``dry`` run only the size is found out.

    Tells ``[tensor, MiB before, MiB after]`` of each tensor. The answer has the sizes in MiB, and how many tensors
    change their type.
    """
    api = _bindings(Path(job["libraries"]), Path(job["bindings"]))
    log = _Log(news)
    # Kept in a variable for as long as llama.cpp may call it.
    callback = api.llama_log_callback(log.take)
    api.llama_log_set(callback, ctypes.c_void_p(0))
    api.llama_backend_init()
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = job["number"]
    parameters.nthread = job["threads"]
    parameters.allow_requantize = job["requantize"]
    parameters.dry_run = job["dry"]
    parameters.max_buf_size = _SLAB
    importance = _importance(api, job["imatrix"]) if job["imatrix"] else None
    if importance is not None:
        parameters.imatrix = importance
    source, target = (os.fsencode(job[name]) for name in ("source", "target"))
    if api.llama_model_quantize(source, target, ctypes.byref(parameters)):
        raise Refused(log.error or "llama.cpp does not say why")
    return {"before": log.before, "after": log.after, "changed": log.changed, "needs_imatrix": log.needs_imatrix}


class _Log:
    """Makes of what llama.cpp prints what it means: the quantizer says how far it is in no other way."""

    def __init__(self, news: Callable[[Any], None]) -> None:
        self._news = news
        self._tensor = ""
        self.before = self.after = 0.0
        self.changed = 0
        self.error = ""
        self.needs_imatrix = False

    def take(self, level: int, text: bytes, _: object) -> None:
        """One message; a line may come in several."""
        said = text.decode("utf-8", "replace")
        self.needs_imatrix |= "will require an imatrix" in said
        if level == _ERROR_LEVEL and said.strip(" =\n"):
            self.error = self.error or said.strip()
            if "failed to quantize: " in said:
                self.error = said.partition("failed to quantize: ")[2].strip()
        if named := _TENSOR.search(said):
            self._tensor = named[1]
        if self._tensor and (sizes := _SIZE.search(said)):
            before, after = float(sizes[1]), float(sizes[2] or sizes[1])
            self.before, self.after = self.before + before, self.after + after
            self.changed += sizes[2] is not None
            self._news([self._tensor, before, after])
            self._tensor = ""


def _bindings(libraries: Path, package: Path) -> Any:
    """The module ``llama_cpp.llama_cpp`` over ``libraries``, with a kernel loaded; the package itself would pull in
    more than is here."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(libraries)
    stub = types.ModuleType("llama_cpp")
    stub.__path__ = [str(package)]
    sys.modules["llama_cpp"] = stub
    try:
        api = importlib.import_module("llama_cpp.llama_cpp")
        ggml = ctypes.CDLL(str(libraries / "libggml.so"))
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise Unusable(f"llama.cpp's libraries cannot be used ({error})") from error
    ggml.ggml_backend_load.restype = ctypes.c_void_p
    if not any(ggml.ggml_backend_load(os.fsencode(one)) for one in sorted(libraries.glob("libggml-cpu-*.so"))):
        raise Unusable("none of the kernels runs on this CPU")
    return api


def _importance(api: Any, path: str) -> Any:
    """The importance matrix of a file of llama-imatrix's, as tools/quantize of llama.cpp reads it."""
    found = dict(_entries(path))
    if not found:
        raise Refused(f"{path} is no importance matrix: make one with llama.cpp's llama-imatrix")
    table = (api.llama_model_imatrix_data * (len(found) + 1))()
    for one, (name, values) in zip(table, sorted(found.items()), strict=False):
        data = (ctypes.c_float * len(values)).from_buffer_copy(values.astype("<f4").tobytes())
        one.name, one.data, one.size = name.encode(), ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), len(values)
    return table


def _entries(path: str) -> Iterator[tuple[str, Any]]:
    import numpy as np
    from gguf import GGUFReader

    try:
        tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise Refused(
            f"{path} is no importance matrix in a GGUF: make it again with a current llama-imatrix"
        ) from error
    for name, sums in tensors.items():
        stem = name.removesuffix(".in_sum2")
        counts = tensors.get(f"{stem}.counts")
        if stem == name or counts is None:
            continue
        rows, each = np.asarray(sums, "f4").reshape(counts.size, -1), np.asarray(counts, "f4").reshape(-1, 1)
        yield stem, np.where(each > 0, rows / np.maximum(each, 1e-30), 1).reshape(-1)
