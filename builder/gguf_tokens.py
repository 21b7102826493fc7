"""Judges a model's vocabulary by the header alone: is there one, do its lists fit, are its special tokens in it?

What llama.cpp does without is not asked for; llama.cpp itself is asked afterwards (model_trial.py), where it is there.
"""

from __future__ import annotations

from solofile.builder.gguf_header import STRING, Header

TOKENIZER = "tokenizer.ggml."
MODEL, TOKENS, MERGES = f"{TOKENIZER}model", f"{TOKENIZER}tokens", f"{TOKENIZER}merges"
NONE = ("no_vocab", "none")
"""The names of tokenizers of models that have no vocabulary."""

_BESIDE_THE_TOKENS = {f"{TOKENIZER}scores": {6}, f"{TOKENIZER}token_type": {4, 5}}
"""The lists with one value for each token, and GGUF's types (float32; int32) that llama.cpp reads them as."""

_TEXTS = (MODEL, f"{TOKENIZER}pre", "tokenizer.chat_template")
_IDS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "cls", "mask")
"""llama.cpp drops other ids that are out of range, and says so."""

_FLAGS = ("add_bos_token", "add_eos_token", "add_space_prefix")
_INTEGERS, _BOOL = {0, 1, 2, 3, 4, 5, 10, 11}, 7
UNSET = (0xFFFF_FFFF, -1)


def vocabulary_problem(header: Header) -> str | None:
    """What is wrong with the vocabulary, as a clause about the model; None where nothing is."""
    for key in _TEXTS:
        if header.kinds.get(key, STRING) != STRING or key in header.arrays:
            return f"has a {key} that is no text"
    model = header.values.get(MODEL)
    if not model:
        return f"has no tokenizer (there is no {MODEL})"
    if model in NONE:
        return None
    if header.kinds.get(TOKENS) != STRING or not header.arrays.get(TOKENS):
        return f"has a tokenizer and no tokens (there is no list of texts {TOKENS})"
    return _lists(header) or _special(header)


def _lists(header: Header) -> str | None:
    tokens = header.arrays[TOKENS]
    for key, kinds in _BESIDE_THE_TOKENS.items():
        if key not in header.kinds:
            continue
        if key not in header.arrays or header.kinds[key] not in kinds:
            return f"has a {key} of another type than llama.cpp reads"
        if header.arrays[key] < tokens:
            return f"has {tokens} tokens and {header.arrays[key]} values of {key}"
    if MERGES in header.kinds and (MERGES not in header.arrays or header.kinds[MERGES] != STRING):
        return f"has {MERGES} that are no list of texts"
    return None


def _special(header: Header) -> str | None:
    tokens = header.arrays[TOKENS]
    for name in _IDS:
        key = f"{TOKENIZER}{name}_token_id"
        if key not in header.kinds:
            continue
        number = header.values.get(key)
        if not isinstance(number, int) or header.kinds[key] not in _INTEGERS:
            return f"has a {key} that is no whole number"
        if number not in UNSET and not 0 <= number < tokens:
            return f"has the {key} {number} and {tokens} tokens"
    for name in _FLAGS:
        if header.kinds.get(TOKENIZER + name, _BOOL) != _BOOL:
            return f"has a {TOKENIZER}{name} that is neither true nor false"
    return None
