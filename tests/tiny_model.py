"""Writes a GGUF that llama.cpp loads and runs, small enough for a test: a random llama model with a byte vocabulary."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _byte_characters() -> list[str]:
    """The printable character that GPT-2's byte-level vocabulary uses for each byte value (openai/gpt-2 encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(value) if value in printable else chr(next(others)) for value in range(256)]


def write_tiny_model(
    path: Path, *, layers: int = 1, width: int = 64, context: int = 2048, seed: int = 1, pictures: bool = False
) -> Path:
    """Write a model of ``layers`` blocks and ``width`` hidden units to ``path``; the text that it makes is noise.

    With ``pictures`` it has the tokens that stand around a picture of `write_tiny_projector`.
    """
    heads, feed_forward = 4, 2 * width
    tokens = [*_byte_characters(), "th", "<|im_start|>", "<|im_end|>"]
    kinds = [gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * 2
    if pictures:
        tokens += ["\u010a\u010a", "<fake_token_around_image>", "<global-img>"]  # the first one is two line breaks
        kinds += [gguf.TokenType.NORMAL] + [gguf.TokenType.CONTROL] * 2
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h", *(["\u010a \u010a"] if pictures else [])])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_chat_template(CHAT_TEMPLATE)

    random = np.random.default_rng(seed)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0, 0.05, shape).astype(np.float32))

    def add_ones(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    add("token_embd.weight", len(tokens), width)
    add("output.weight", len(tokens), width)
    add_ones("output_norm.weight")
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", width, width)
        add(f"blk.{layer}.ffn_gate.weight", feed_forward, width)
        add(f"blk.{layer}.ffn_up.weight", feed_forward, width)
        add(f"blk.{layer}.ffn_down.weight", width, feed_forward)
        add_ones(f"blk.{layer}.attn_norm.weight")
        add_ones(f"blk.{layer}.ffn_norm.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tiny_projector(path: Path, *, width: int = 64, seed: int = 1) -> Path:
    """Write a vision projector (of Idefics3's kind) for the model of `write_tiny_model`: it sees, and sees noise."""
    size, patch, scale, feed_forward = 32, 8, 2, 2 * width
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "idefics3")
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": size,
        "patch_size": patch,
        "embedding_length": width,
        "feed_forward_length": feed_forward,
        "block_count": 1,
        "projection_dim": width,
        "attention.head_count": 4,
        "projector.scale_factor": scale,
        "preproc_image_size": size,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5, 0.5, 0.5])

    random = np.random.default_rng(seed)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0, 0.05, shape).astype(np.float32))

    add("v.patch_embd.weight", width, 3, patch, patch)
    add("v.patch_embd.bias", width)
    add("v.position_embd.weight", (size // patch) ** 2, width)
    for norm in ("v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        add(f"{norm}.weight", width)
        add(f"{norm}.bias", width)
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        add(f"v.blk.0.{name}.weight", width, width)
        add(f"v.blk.0.{name}.bias", width)
    add("v.blk.0.ffn_up.weight", feed_forward, width)
    add("v.blk.0.ffn_up.bias", feed_forward)
    add("v.blk.0.ffn_down.weight", width, feed_forward)
    add("v.blk.0.ffn_down.bias", width)
    add("mm.model.fc.weight", width, width * scale * scale)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
