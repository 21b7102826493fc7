"""The quantizations that llama.cpp can make, by the names that llama-quantize has for them."""

from __future__ import annotations

from solofile.builder.gguf_check import FILE_TYPES
from solofile.runtime.errors import UnknownName

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
NOT_MADE = ("NVFP4",)
"""What llama.cpp reads and does not make."""

NUMBERS = {name: number for number, name in FILE_TYPES.items() if name not in NOT_MADE}
PLAIN = frozenset({"F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64"})
"""Tensor types that are no quantization."""


def find_quantization(wanted: str) -> str:
    """The name as llama.cpp writes it, in any case. Raises UnknownName with the nearest."""
    upper = wanted.strip().upper()
    name = ALIASES.get(upper, upper)
    if name not in NUMBERS:
        raise UnknownName("quantization", wanted, [*NUMBERS, *ALIASES])
    return name
