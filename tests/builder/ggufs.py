"""Writes tiny GGUFs: with the gguf package the sound ones, byte by byte the hostile ones."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    name: str | None = "Tiny Model",
    file_type: gguf.LlamaFileType | None = gguf.LlamaFileType.MOSTLY_Q8_0,
    context: int | None = 2048,
    template: str | None = "{{ messages }}",
    license_id: str | None = "mit",
    tensors: bool = True,
    kind: str | None = None,
    split: tuple[int, int] | None = None,
    tokens: int = 100,
    alignment: int | None = None,
) -> Path:
    """Write a GGUF with one F32 and one Q8_0 tensor, 96 and 640 weights."""
    writer = gguf.GGUFWriter(str(path), architecture)
    if alignment:
        writer.add_custom_alignment(alignment)
    if name:
        writer.add_name(name)
    if kind:
        writer.add_type(kind)
    if file_type is not None:
        writer.add_file_type(file_type)
    if context is not None:
        writer.add_context_length(context)
    if license_id:
        writer.add_license(license_id)
    if split:
        writer.add_uint16("split.no", split[0])
        writer.add_uint16("split.count", split[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token {number}" for number in range(tokens)])
    writer.add_token_scores([0.5] * tokens)
    if template:
        writer.add_chat_template(template)
    if tensors:
        writer.add_tensor("output_norm.weight", np.arange(96, dtype=np.float32).reshape(3, 32))
        writer.add_tensor(
            "token_embd.weight",
            np.zeros((20, 34), dtype=np.uint8),
            raw_dtype=gguf.GGMLQuantizationType.Q8_0,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


ARCHITECTURE = entry("general.architecture", 8, text("llama"))
NO_WORDS = entry("tokenizer.ggml.model", 8, text("none"))
"""Of a model without a vocabulary, which llama.cpp loads as well."""


def raw_gguf(
    entries: list[bytes], tensors: list[bytes], *, version: int = 3, counts: tuple[int, int] | None = None
) -> bytes:
    """A GGUF's bytes, with whatever counts, and 4096 bytes of data behind the header."""
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", version, tensor_count, entry_count)
    return head + b"".join(entries) + b"".join(tensors) + bytes(4096)
