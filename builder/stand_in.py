"""Writes a GGUF that llama.cpp loads in no time and that has another model's chat template: to try that by itself."""

from __future__ import annotations

import math
import struct
from pathlib import Path

WIDTH = 32
_U32, _F32, _INTS, _STRING, _ARRAY = 4, 6, 5, 8, 9
_ALIGNMENT = 32
_CONTROL = 3


def write_stand_in(path: Path, template: str) -> None:
    """Write one layer of zeros, with GPT-2's bytes for a vocabulary, and ``template``."""
    tokens = [*_byte_characters(), "<s>", "</s>"]
    entries = [
        _entry("general.architecture", _STRING, _text("llama")),
        *(_entry(f"llama.{name}", _U32, struct.pack("<I", value)) for name, value in _NUMBERS.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", _F32, struct.pack("<f", 1e-5)),
        _entry("tokenizer.ggml.model", _STRING, _text("gpt2")),
        _entry("tokenizer.ggml.pre", _STRING, _text("default")),
        _entry("tokenizer.ggml.tokens", _ARRAY, _list(_STRING, [_text(token) for token in tokens])),
        _entry("tokenizer.ggml.token_type", _ARRAY, _list(_INTS, [struct.pack("<i", one) for one in _kinds(tokens)])),
        _entry("tokenizer.ggml.merges", _ARRAY, _list(_STRING, [_text("t h")])),
        _entry("tokenizer.ggml.bos_token_id", _U32, struct.pack("<I", len(tokens) - 2)),
        _entry("tokenizer.ggml.eos_token_id", _U32, struct.pack("<I", len(tokens) - 1)),
        _entry("tokenizer.chat_template", _STRING, _text(template)),
    ]
    infos, offset = [], 0
    for name, shape in _tensors(len(tokens)):
        sizes = struct.pack(f"<{len(shape)}Q", *shape)
        infos.append(_text(f"{name}.weight") + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", 0, offset))
        offset += -(-4 * math.prod(shape) // _ALIGNMENT) * _ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(entries)) + b"".join(entries) + b"".join(infos)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // _ALIGNMENT) * _ALIGNMENT + offset)


_NUMBERS = {
    "context_length": 2048,
    "embedding_length": WIDTH,
    "block_count": 1,
    "feed_forward_length": WIDTH,
    "attention.head_count": 1,
    "attention.head_count_kv": 1,
    "rope.dimension_count": WIDTH,
}


def _tensors(tokens: int) -> list[tuple[str, tuple[int, ...]]]:
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return [
        ("token_embd", (WIDTH, tokens)),
        ("output", (WIDTH, tokens)),
        ("output_norm", (WIDTH,)),
        *((f"blk.0.{name}", (WIDTH, WIDTH)) for name in square),
        ("blk.0.attn_norm", (WIDTH,)),
        ("blk.0.ffn_norm", (WIDTH,)),
    ]


def _byte_characters() -> list[str]:
    """The printable character that GPT-2's vocabulary has for each byte (openai/gpt-2, encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(value) if value in printable else chr(next(others)) for value in range(256)]


def _kinds(tokens: list[str]) -> list[int]:
    return [1] * (len(tokens) - 2) + [_CONTROL] * 2


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def _list(kind: int, values: list[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value
