"""Models of other kinds than tiny_model.py's, as small: one remembers a state instead of tokens, one is an encoder."""

from __future__ import annotations

import string
from pathlib import Path

import gguf
import numpy as np
from tiny_model import CHAT_TEMPLATE, _byte_characters


class _Weights:
    """Writes random tensors."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self._writer, self._random = writer, np.random.default_rng(seed)

    def noise(self, name: str, *shape: int) -> None:
        self._writer.add_tensor(name, self._random.normal(0, 0.2, shape).astype(np.float32))

    def ones(self, name: str, *shape: int) -> None:
        self._writer.add_tensor(name, np.ones(shape, dtype=np.float32))

    def minus(self, name: str, *shape: int) -> None:
        self._writer.add_tensor(name, -1 - self._random.random(shape, dtype=np.float32))


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tiny_mamba(path: Path, *, layers: int = 2, width: int = 64, seed: int = 1) -> Path:
    """Write a recurrent model to ``path``: it cannot give up a part of what it has read."""
    inner, state, rank, kernel = 2 * width, 16, 4, 4
    tokens = [*_byte_characters(), "th", "<|im_start|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_name("tiny mamba")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_chat_template(CHAT_TEMPLATE)
    weights = _Weights(writer, seed)
    weights.noise("token_embd.weight", len(tokens), width)
    weights.ones("output_norm.weight", width)
    for layer in range(layers):
        weights.ones(f"blk.{layer}.attn_norm.weight", width)
        weights.noise(f"blk.{layer}.ssm_in.weight", 2 * inner, width)
        weights.noise(f"blk.{layer}.ssm_conv1d.weight", inner, kernel)
        weights.noise(f"blk.{layer}.ssm_conv1d.bias", inner)
        weights.noise(f"blk.{layer}.ssm_x.weight", rank + 2 * state, inner)
        weights.noise(f"blk.{layer}.ssm_dt.weight", inner, rank)
        weights.noise(f"blk.{layer}.ssm_dt.bias", inner)
        weights.minus(f"blk.{layer}.ssm_a", inner, state)
        weights.ones(f"blk.{layer}.ssm_d", inner)
        weights.noise(f"blk.{layer}.ssm_out.weight", width, inner)
    _finish(writer)
    return path


def write_tiny_encoder(path: Path, *, layers: int = 2, width: int = 64, context: int = 96, seed: int = 1) -> Path:
    """Write an encoder of BERT's kind to ``path``: embeddings of at most ``context`` tokens, and no memory."""
    feed_forward = 2 * width
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *(f"▁{letter}" for letter in string.ascii_lowercase), *string.ascii_lowercase]
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("tiny bert")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed_forward)
    writer.add_block_count(layers)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * 52)
    writer.add_token_type_count(2)
    for number, name in enumerate(("padding", "unknown", "bos", "seperator", "mask")):  # as GGUF spells it
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    weights = _Weights(writer, seed)
    weights.noise("token_embd.weight", len(tokens), width)
    weights.noise("token_types.weight", 2, width)
    weights.noise("position_embd.weight", context, width)
    weights.ones("token_embd_norm.weight", width)
    weights.noise("token_embd_norm.bias", width)
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.noise(f"blk.{layer}.{name}.weight", width, width)
            weights.noise(f"blk.{layer}.{name}.bias", width)
        for norm in ("attn_output_norm", "layer_output_norm"):
            weights.ones(f"blk.{layer}.{norm}.weight", width)
            weights.noise(f"blk.{layer}.{norm}.bias", width)
        weights.noise(f"blk.{layer}.ffn_up.weight", feed_forward, width)
        weights.noise(f"blk.{layer}.ffn_up.bias", feed_forward)
        weights.noise(f"blk.{layer}.ffn_down.weight", width, feed_forward)
        weights.noise(f"blk.{layer}.ffn_down.bias", width)
    _finish(writer)
    return path
