"""Makes a smaller model out of a larger one, by llama.cpp's own quantizer in a child process.

<build cache>/quantized/<key>/NAME-TYPE.gguf

The key is made of the model's SHA-256, the quantization, the importance matrix and llama.cpp's commit: all that decides
the bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solofile.builder import inputs, native
from solofile.builder.child import ChildFailure, run_child
from solofile.builder.errors import BadModel, BuildError
from solofile.builder.gguf_check import ModelFacts
from solofile.builder.hashing import file_sha256
from solofile.builder.output import check_space, explained
from solofile.builder.paths import cache_folder, keep_newest, locked, mark_used
from solofile.builder.quantize_names import NUMBERS, PLAIN, find_quantization
from solofile.builder.tools import ProgressMaker, machine_jobs
from solofile.runtime.kernels import BASE

KEPT = 4
"""Quantized models that stay in the build cache."""

_PLAIN_END = re.compile(r"[-._](bf16|f16|fp16|f32|fp32)$", re.IGNORECASE)
"""What a file's name says that is no longer true."""

DRY_SECONDS = 120.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Quantization:
    """What is wished: llama.cpp's name of a type, an importance matrix, and whether it may be done a second time."""

    name: str
    imatrix: Path | None = None
    requantize: bool = False


def quantized(
    model: Path, sha256: str, facts: ModelFacts, wish: Quantization, progress: ProgressMaker
) -> tuple[Path, str | None]:
    """The quantized form of ``model``, which has that SHA-256 and those facts; and the SHA-256 of the matrix.

    Raises UnknownName, BadModel, BuildError.
    """
    name = find_quantization(wish.name)
    _check_wish(model, facts, wish, name)
    imatrix = _imatrix_sha256(wish.imatrix)
    key = hashlib.sha256(json.dumps([sha256, name, imatrix, wish.requantize, inputs.LLAMA_CPP_COMMIT]).encode())
    folder = cache_folder("quantized", key.hexdigest())
    path = folder / f"{_PLAIN_END.sub('', model.stem)}-{name}.gguf"
    with locked(folder.with_name(f"{folder.name}.lock")):
        found = next(folder.glob("*.gguf"), None)
        if found is None:
            try:
                _quantize(model, path, wish, name, progress)
            except BaseException:
                folder.rmdir()
                raise
        elif found != path:
            found.rename(path)
    mark_used(folder)
    keep_newest(folder.parent, KEPT)
    return path, imatrix


def _check_wish(model: Path, facts: ModelFacts, wish: Quantization, name: str) -> None:
    """Refuse what would make a model worse for nothing."""
    already = sorted(set(facts.types) - PLAIN)
    if facts.quantization == name:
        raise BadModel(f"{model} is {name} already: leave --quantize out.")
    if already and not wish.requantize:
        raise BadModel(
            f"{model} is quantized already ({facts.quantization}), and once more loses more than once from the "
            "original: take its F16, BF16 or F32 form, or give --allow-requantize."
        )


def _imatrix_sha256(imatrix: Path | None) -> str | None:
    try:
        return file_sha256(imatrix) if imatrix else None
    except OSError as error:
        raise BadModel(f"The importance matrix {imatrix} cannot be read: {error.strerror}.") from error


def _quantize(model: Path, path: Path, wish: Quantization, name: str, progress: ProgressMaker) -> None:
    """Find out how large it will be, then make it beside ``path`` and rename it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)  # of a build that was killed; the folder is locked
    job = {
        "libraries": str(native.build(kernels=BASE, progress=progress).folder),
        "bindings": str(inputs.llama_source() / "llama_cpp"),
        "source": str(model.absolute()),
        "target": str(temporary.absolute()),
        "number": NUMBERS[name],
        "requantize": wish.requantize,
        "imatrix": str(wish.imatrix.absolute()) if wish.imatrix else None,
        "threads": machine_jobs(),
    }
    plan = _run(model, name, {**job, "dry": True}, DRY_SECONDS, None)
    if not plan["changed"]:
        raise BadModel(f"Nothing in {model} would become smaller as {name}: leave --quantize out.")
    if plan["needs_imatrix"] and wish.imatrix is None:
        raise BadModel(f"{name} needs an importance matrix of the model: give llama-imatrix's file by --imatrix.")
    size, total = round(plan["after"] * MEBIBYTE), round(plan["before"] * MEBIBYTE)
    check_space(path, size)
    try:
        with explained(path, size), progress(f"Quantizing {model.name} to {name}", total, "B") as shown:
            done = 0.0

            def count(news: list[Any]) -> None:
                nonlocal done
                done += news[1]
                shown.update(min(round(done * MEBIBYTE), total - 1))

            _run(model, name, {**job, "dry": False}, None, count)
            shown.update(total)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _run(model: Path, name: str, job: dict[str, Any], seconds: float | None, on_news: Any) -> dict[str, Any]:
    try:
        return run_child("quantize", job, seconds=seconds, memory=None, on_news=on_news or (lambda _: None))
    except ChildFailure as failure:
        if failure.unusable:
            raise BuildError(f"{model} cannot be quantized here: {failure}.") from failure
        raise BadModel(f"llama.cpp cannot make {name} of {model}: {failure}.") from failure
