"""Judges a model file before a build: what it is, and why not where it cannot be bundled. Reads no tensor."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solofile.builder.archive_writer import Span, open_raw
from solofile.builder.errors import BadModel
from solofile.builder.gguf_architectures import architecture_problem
from solofile.builder.gguf_header import MAGIC, TENSOR_TYPES, Header, HeaderCut, HeaderError, read_header
from solofile.builder.gguf_memory import Memory, memory_of
from solofile.builder.gguf_tokens import vocabulary_problem

MAP_ALIGNMENT = 32
"""llama.cpp maps weights only if their section begins at a multiple of this."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""general.file_type, with the names that llama-quantize has for them."""

_KINDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("is empty", lambda head: not head),
    ("holds nothing but zeros at its start, as a download does that has not finished", lambda head: not any(head)),
    ("is a safetensors file", lambda head: head[8:10] == b'{"' and head[4:8] == bytes(4)),
    ("is a zip archive (PyTorch's format, or a model packed up)", lambda head: head[:4] == b"PK\3\4"),
    ("is a pickle of PyTorch's", lambda head: head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")),
    ("is a gzip archive", lambda head: head[:2] == b"\x1f\x8b"),
    ("is a Git LFS pointer and not the file that it points to", lambda head: head.startswith(b"version https://git-lfs")),
    ("is an HTML page, such as a site answers in place of a file",
     lambda head: head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))),
    ("is a model of the format before GGUF", lambda head: head[:4] in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
    ("is an executable; if it is a bundle, “solofile extract” takes its model out",
     lambda head: head.startswith((b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe"))),
    ("is a JSON text", lambda head: head.lstrip()[:1] in (b"{", b"[")),
)  # fmt: skip


@dataclass(frozen=True)
class ModelFacts:
    """What a build and its manifest say of a model. Sizes in bytes; None where the file does not say."""

    architecture: str
    name: str | None
    parameters: int
    quantization: str
    context_length: int | None
    chat_template: bool
    license: str | None
    tensors: int
    data_size: int
    size: int
    memory: Memory | None = None
    types: tuple[str, ...] = ()
    """Of its tensors."""


def check_model(path: Path, span: Span | None = None) -> ModelFacts:
    """The facts of the GGUF at ``path``, or of that ``span`` of the file there.

    Raises BadModel with a sentence when it cannot be bundled.
    """
    with _opened(path) as file:
        start, size = span or Span(0, file.seek(0, io.SEEK_END))
        try:
            header = read_header(file, start, size)
        except HeaderCut as error:
            problem = f"is cut short: at least {error.missing} bytes are missing; copy or download it again"
            raise _unless_something_else(path, file, start, problem) from error
        except HeaderError as error:
            problem = f"cannot be used: {error}; get it again, or convert the model again with a current llama.cpp"
            raise _unless_something_else(path, file, start, problem) from error
    _check_kind(path, header)
    _check_split(path, header)
    _check_whole(path, header, size)
    _check_known(path, header)
    return _facts(header, size)


def _opened(path: Path) -> io.FileIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadModel(f"{path} is a folder: name the GGUF file{_inside(path)}.")
        if not stat.S_ISREG(mode):
            raise BadModel(f"{path} is not a regular file: name a GGUF file.")
        return open_raw(path)
    except FileNotFoundError:
        raise BadModel(f"The model {path} does not exist: check its name.") from None
    except PermissionError:
        raise BadModel(f"The model {path} may not be read by this user: change its permissions.") from None
    except OSError as error:
        raise BadModel(f"The model {path} cannot be opened: {error.strerror}.") from error


def _inside(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.glob("*.gguf"))
    except OSError:
        names = []
    return f" in it, such as {names[0]}" if names else ""


def _unless_something_else(path: Path, file: io.FileIO, start: int, problem: str) -> BadModel:
    """The error for a file whose header could not be read: what it is, if that is something else."""
    file.seek(start)
    head = file.read(512)
    if head[:4] == MAGIC:
        return BadModel(f"{path} {problem}.")
    kind = next((text for text, test in _KINDS if test(head)), "is no GGUF file")
    return BadModel(f"{path} {kind}: solofile builds from GGUF files.")


def _check_kind(path: Path, header: Header) -> None:
    kind = header.values.get("general.type", "model")
    architecture = header.values.get("general.architecture")
    if architecture == "clip" or kind == "mmproj":
        raise BadModel(f"{path} is a projector for images or sound and not a model: name the model itself.")
    if kind != "model":
        raise BadModel(f"{path} is of the kind “{kind}” and not a model: name the model itself.")
    if not isinstance(architecture, str) or not architecture:
        raise BadModel(f"{path} does not say its architecture: convert the model again with a current llama.cpp.")


def _check_split(path: Path, header: Header) -> None:
    """A split model was joined before this; what is left is a part that nobody can tell by its name."""
    count, number = header.values.get("split.count", 0), header.values.get("split.no", 0)
    if not isinstance(count, int) or not isinstance(number, int) or count <= 1:
        return
    name = f"NAME-{number + 1:05}-of-{count:05}.gguf"
    raise BadModel(
        f"{path} is part {number + 1} of {count} of a split model and is not called {name}, as such a part is: "
        "give all parts their names back."
    )


def _check_whole(path: Path, header: Header, size: int) -> None:
    if header.tensors == 0:
        what = "holds a vocabulary only" if "tokenizer.ggml.tokens" in header.arrays else "holds no weights"
        raise BadModel(f"{path} {what}: name a model with weights.")
    if header.end > size:
        raise BadModel(
            f"{path} is cut short: {header.end - size} of {header.end} bytes are missing; copy or download it again."
        )
    if header.data_offset % MAP_ALIGNMENT:
        raise BadModel(
            f"{path} has weights that cannot be mapped (not aligned to {MAP_ALIGNMENT} bytes): convert the "
            "model again with a current llama.cpp."
        )


def _check_known(path: Path, header: Header) -> None:
    """Does llama.cpp know what it is, and what its words are?"""
    problem = architecture_problem(str(header.values["general.architecture"]))
    if problem:
        raise BadModel(f"{path} {problem}: use a solofile with a newer llama.cpp, or another model.")
    problem = vocabulary_problem(header)
    if problem:
        raise BadModel(f"{path} {problem}: get it again, or convert the model again with a current llama.cpp.")


def _facts(header: Header, size: int) -> ModelFacts:
    values = header.values
    architecture = str(values["general.architecture"])
    context = values.get(f"{architecture}.context_length")
    return ModelFacts(
        architecture=architecture,
        name=_text(values.get("general.name")),
        parameters=sum(header.weights.values()),
        quantization=_quantization(header),
        context_length=context if isinstance(context, int) and context > 0 else None,
        chat_template=bool(values.get("tokenizer.chat_template")),
        license=_text(values.get("general.license")),
        tensors=header.tensors,
        data_size=header.end - header.data_offset,
        size=size,
        memory=memory_of(header),
        types=tuple(sorted(header.weights)),
    )


def _quantization(header: Header) -> str:
    """By general.file_type, else the type that most weights have."""
    number = header.values.get("general.file_type")
    if isinstance(number, int) and number in FILE_TYPES:
        return FILE_TYPES[number]
    return max(header.weights, key=lambda kind: (header.weights[kind], kind))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


__all__ = ["FILE_TYPES", "TENSOR_TYPES", "ModelFacts", "check_model"]
