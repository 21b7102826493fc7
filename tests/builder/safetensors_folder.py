"""Writes a folder as Hugging Face has them: a tiny random Llama with safetensors and a byte-level vocabulary."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

WIDTH, LAYERS, HEADS, FEED_FORWARD = 64, 2, 4, 128
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """The format of safetensors: the header's length, the header as JSON, the data."""
    header, offset = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(data.shape), "data_offsets": [offset, offset + data.nbytes]}
        offset += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(one.tobytes() for one in tensors.values()))


def write_folder(folder: Path) -> Path:
    """The whole folder; its weights are random, and the same each time."""
    folder.mkdir(parents=True)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "t", "h", "th"]
    write_safetensors(folder / "model.safetensors", weights(len(tokens)))
    special = [{"id": number, "content": tokens[number], "special": True} | FLAGS for number in range(3)]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(tokens, special)), "utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": CHAT_TEMPLATE,
        "added_tokens_decoder": {str(one["id"]): {k: v for k, v in one.items() if k != "id"} for one in special},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "config.json").write_text(json.dumps(config(len(tokens))), "utf-8")
    return folder


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def config(tokens: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
        "hidden_size": WIDTH,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "vocab_size": tokens,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
    }


def tokenizer(tokens: list[str], special: list[dict[str, object]]) -> dict[str, object]:
    """As Llama 2 has it: pieces of words with ▁ for a space, and a token for each byte that no piece holds."""
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    return {
        "version": "1.0",
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": ["t h"],
        },
    }  # fmt: skip


def weights(tokens: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)

    def some(*shape: int) -> np.ndarray:
        return random.normal(0, 0.05, shape).astype(np.float32)

    found = {
        "model.embed_tokens.weight": some(tokens, WIDTH),
        "model.norm.weight": np.ones(WIDTH, np.float32),
        "lm_head.weight": some(tokens, WIDTH),
    }
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        for part in ("q", "k", "v", "o"):
            found[f"{name}.self_attn.{part}_proj.weight"] = some(WIDTH, WIDTH)
        found[f"{name}.mlp.gate_proj.weight"] = some(FEED_FORWARD, WIDTH)
        found[f"{name}.mlp.up_proj.weight"] = some(FEED_FORWARD, WIDTH)
        found[f"{name}.mlp.down_proj.weight"] = some(WIDTH, FEED_FORWARD)
        found[f"{name}.input_layernorm.weight"] = np.ones(WIDTH, np.float32)
        found[f"{name}.post_attention_layernorm.weight"] = np.ones(WIDTH, np.float32)
    return found
