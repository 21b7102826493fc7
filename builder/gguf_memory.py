"""What memory a model takes, by the numbers in its header: for whoever builds, to see whom the bundle will suit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from solofile.builder.gguf_header import Header
from solofile.runtime.errors import InputError
from solofile.runtime.options import parse as parse_options

CACHE_BYTES = 2
"""Of a number in the KV cache, which is F16 unless somebody says otherwise."""

_LIMIT = 1 << 60


class Memory(NamedTuple):
    """Bytes: of the ``weights``, of the KV cache for one ``token`` of context, and the ``context`` it was made for.

    The cache is what it takes at most: layers that look back a little way only take less. What computing takes comes
    on top.
    """

    weights: int
    token: int
    context: int | None

    def cache(self, context: int | None = None) -> int:
        """Bytes of the KV cache for so many tokens, by default for all of the model's context."""
        return self.token * (context or self.context or 0)


def memory_of(header: Header) -> Memory | None:
    """What the model takes; None for one that does not say enough."""
    weights, token = header.end - header.data_offset, _token_bytes(header)
    context = _count(header, "context_length")
    return None if token is None or max(weights, token * (context or 1)) > _LIMIT else Memory(weights, token, context)


def context_of(arguments: Sequence[str]) -> int | None:
    """The context that the bundle's default arguments name; None for the model's own."""
    try:
        given = [one for one in parse_options(arguments) if "-c" in one.option.spellings]
    except InputError:  # said by whoever checks the arguments
        return None
    value = given[-1].values[0] if given and given[-1].values else ""
    return int(value) if value.isdecimal() and 0 < int(value) < 1 << 32 else None


def _token_bytes(header: Header) -> int | None:
    """For each layer that attends: its key-value heads times the length of a key and of a value."""
    layers, heads = _count(header, "block_count"), _each(header, "attention.head_count")
    if not layers or layers > 1 << 16 or not heads:
        return None
    pairs = _each(header, "attention.head_count_kv") or heads
    per_layer = list(pairs) * layers if len(pairs) == 1 else list(pairs)[:layers]
    width = _count(header, "embedding_length")
    default = width // max(heads) if width and max(heads) else None
    key, value = (_count(header, f"attention.{name}_length") or default for name in ("key", "value"))
    if key is None or value is None:
        return None
    if _count(header, "attention.key_length_mla"):  # latent attention: the values are a part of the keys
        value = 0
    return sum(per_layer) * (key + value) * CACHE_BYTES


def _key(header: Header, name: str) -> str:
    return f"{header.values.get('general.architecture')}.{name}"


def _count(header: Header, name: str) -> int | None:
    value = header.values.get(_key(header, name))
    return value if isinstance(value, int) and 0 < value < 1 << 32 else None


def _each(header: Header, name: str) -> Sequence[int]:
    """One number for all layers, or one for each of them."""
    one = _count(header, name)
    if one is not None:
        return (one,)
    found = header.lists.get(_key(header, name), ())
    return [int(number) for number in found if isinstance(number, int) and 0 <= number < 1 << 32]
