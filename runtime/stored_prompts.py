"""The stored prompts of a bundle: states of texts that its model has read already, and when they can be used.

A state is what llama.cpp's server saves of a slot: the tokens, and the cache of keys and values that they gave. It is
good for the model, the llama.cpp, the types and the layout of that cache, and for what else of the options decides what
is in it. Pure decisions, for the build that makes the states and the start that uses them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from solofile.runtime import options

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.manifest import Manifest
    from solofile.runtime.manifest_prompt import Prompt
    from solofile.runtime.options import Given
else:
    from solofile.runtime.record import NamedTuple

SYSTEM = "prompts/system.kv"
"""The state of the system prompt; the others are of texts that programs send."""

FLASH, PLAIN = "auto", "off"
"""Words for -fa: with flash attention the values lie in another order than without."""

SLOTS = 4
"""What llama.cpp serves at once when -np does not say, with one cache for all."""

SPARE = 64
"""Tokens of context that have to be left behind a stored prompt, or nobody can ask anything."""

_OPTIONS = """
-ctk -ctv --swa-full --rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor
--yarn-attn-factor --yarn-beta-slow --yarn-beta-fast --override-kv --lora --lora-scaled --lora-init-without-apply
--control-vector --control-vector-scaled --control-vector-layer-range --chat-template --chat-template-file
--chat-template-kwargs --jinja -rea --reasoning-format --reasoning-effort
"""
"""Options that decide what the tokens are, or what the model makes of them."""

_DECIDING = frozenset(_OPTIONS.split())
_USUAL = {"-ctk": "f16", "-ctv": "f16"}
_LONG = 100


class Situation(NamedTuple):
    """What a start has chosen: the part of its model, llama.cpp's options, the context (0: unknown) and the word for
    -fa (empty: not chosen yet); ``system_prompt`` is the one that chats begin with."""

    model: str
    model_sha256: str
    llama_cpp: str
    given: tuple[Given, ...]
    system_prompt: str | None = None
    context: int = 0
    flash: str = ""


class Plan(NamedTuple):
    """The stored prompts for the slots 0, 1, …, and (path, why) of those that cannot be used.

    ``again``: the first of them goes into one more slot. When a request begins, llama.cpp puts what idle slots hold
    into its prompt cache, from where a second request at the same time takes it.
    """

    used: tuple[Prompt, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    again: bool = False


def deciding(given: Sequence[Given]) -> tuple[Given, ...]:
    """Those of the options that a state depends on."""
    return tuple(one for one in given if one.option.key in _DECIDING and _USUAL.get(one.option.key, "") != _value(one))


def fingerprint(given: Sequence[Given]) -> tuple[str, ...]:
    """The same as words that can be compared and shown, sorted by option."""
    found = [(one.option.negations[0] if one.negated else one.option.key, *map(_short, one.values))
             for one in deciding(given)]  # fmt: skip
    return tuple(word for words in sorted(found, key=lambda words: words[0]) for word in words)


def _short(value: str) -> str:
    """A value, or the hash of one that nobody would want to read, such as a template."""
    if len(value) <= _LONG and value.isprintable():
        return value
    return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _value(one: Given) -> str | None:
    return one.values[0] if one.values else None


def streams(given: Sequence[Given]) -> int:
    """How many parts of its own the cache has: one for each slot, but where they share one."""
    count, shared = slots(given), "-np" not in {one.option.key for one in given}
    for one in given:
        if one.option.key == "-kvu":
            shared = not one.negated
    return 1 if shared else count


def slots(given: Sequence[Given]) -> int:
    """How many requests are served at once."""
    counts = [int(one.values[0]) for one in given if one.option.key == "-np"]
    return counts[-1] if counts and counts[-1] > 0 else SLOTS


def flash_word(given: Sequence[Given]) -> str:
    """The word for -fa that a state is made with: without flash attention only where the options say so."""
    words = [one.values[0] for one in given if one.option.key == "-fa"]
    return PLAIN if words and words[-1] in ("off", "0", "disabled", "false") else FLASH


def obstacle(given: Sequence[Given]) -> str:
    """Why no state can be used with these options, whatever it is; empty where one can."""
    for one in given:
        key, value = one.option.key, _value(one) or ""
        if key == "--spec-draft-model" or (key == "--spec-type" and "draft" in value):
            return f"a draft model has to read the prompt as well ({one.spelling})"
        if key in ("--embedding", "--rerank"):
            return f"with {one.spelling} there are no answers"
        if key == "--cache-prompt" and one.negated:
            return f"{one.spelling} has every prompt computed anew"
    return ""


def refusal(prompt: Prompt, now: Situation, made_for: str | None) -> str:
    """Why ``prompt`` cannot be used, half a sentence; empty where it can. ``made_for``: the bundle's system prompt."""
    if prompt.model != now.model or prompt.model_sha256 != now.model_sha256:
        return "it is of another model"
    if prompt.llama_cpp != now.llama_cpp:
        return f"it was made by another llama.cpp ({prompt.llama_cpp[:7]})"
    if prompt.path == SYSTEM and now.system_prompt != made_for:
        return "the system prompt is another one"
    return obstacle(now.given) or _by_options(prompt, now) or _by_layout(prompt, now)


def _by_options(prompt: Prompt, now: Situation) -> str:
    made, has = _by_key(prompt.options), _by_key(fingerprint(now.given))
    for words in (*has.values(), *made.values()):
        if has.get(words[0]) == made.get(words[0]):
            continue
        if words[0] in has:
            return f"it was made without {' '.join(has[words[0]])}"
        return f"it was made with {' '.join(words)}"
    return ""


def _by_key(words: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in options.parse(words):
        found[one.spelling] = (*found.get(one.spelling, ()), *one.words())
    return found


def _by_layout(prompt: Prompt, now: Situation) -> str:
    if streams(now.given) != prompt.streams:
        return "the slots have caches of their own (-np without -kvu)" if prompt.streams == 1 else "-np is another one"
    if now.flash and (now.flash == PLAIN) != (prompt.flash == PLAIN):
        return f"flash attention is {now.flash}, and it was made with -fa {prompt.flash}"
    context = now.context // prompt.streams
    if context and context < prompt.context_from:
        return f"a context of {context} tokens is too short for it"
    if context and prompt.context_to is not None and context > prompt.context_to:
        return f"with a context of over {prompt.context_to} tokens this model reads otherwise"
    return ""


def plan(manifest: Manifest, now: Situation) -> Plan:
    """Which stored prompts a start uses: the system's first, as many as there are slots and as the context holds."""
    used: list[Prompt] = []
    refused: list[tuple[str, str]] = []
    for prompt in sorted(manifest.prompts, key=lambda one: one.path != SYSTEM):
        why = refusal(prompt, now, manifest.system_prompt) or _no_room(prompt, used, now)
        if why:
            refused.append((prompt.path, why))
        else:
            used.append(prompt)
    return Plan(tuple(used), tuple(refused), _fits_again(used, now))


def _fits_again(used: Sequence[Prompt], now: Situation) -> bool:
    """Is there a slot for a second copy of the first, and does it leave most of the context to others?"""
    if not used or len(used) >= slots(now.given):
        return False
    tokens = sum(one.tokens for one in (*used, used[0]))
    return used[0].streams > 1 or 2 * tokens <= now.context


def _no_room(prompt: Prompt, used: Sequence[Prompt], now: Situation) -> str:
    if len(used) >= slots(now.given):
        return f"there are {len(used)} slots (-np)"
    taken = sum(one.tokens for one in (*used, prompt)) + SPARE
    if used and prompt.streams == 1 and now.context and taken > now.context:
        return f"a context of {now.context} tokens does not hold it beside the others"
    return ""


def wanted_flash(manifest: Manifest, now: Situation) -> str:
    """The word for -fa with which the first stored prompt that is good for anything was made; empty without one."""
    found = plan(manifest, now._replace(flash="", context=0)).used
    return found[0].flash if found else ""


def sentences(found: Plan) -> Iterator[str]:
    """What a person is told of it."""
    for path, why in found.refused:
        yield f"The stored prompt {path} is not used, since {why}: it is computed as any other."
