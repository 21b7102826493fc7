"""The stored prompts of a start: unpacked while the model loads, restored before the first request, and what is said.

llama.cpp restores a state from a file of its own. On Linux that is one in memory; elsewhere, or where there is no
/proc, one in the cache, removed as soon as it is read.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime import options, stored_prompts
from solofile.runtime.errors import DamagedBundle
from solofile.runtime.settings import CHAT, PROMPT, SERVING

if TYPE_CHECKING:
    from solofile.runtime.container import Bundle
    from solofile.runtime.engine import LlamaEngine
    from solofile.runtime.kernel_path import Choice
    from solofile.runtime.manifest_prompt import Prompt
    from solofile.runtime.settings import Launch
    from solofile.runtime.stored_prompts import Plan

Say = Callable[[str], None]
_LOOK = 0.05
_COMPUTED = "it is computed as any other"


def plan(launch: Launch, bundle: Bundle, choice: Choice) -> Plan:
    """Which stored prompts this start uses, and why not the others."""
    manifest, part = bundle.manifest, bundle.part(launch.model)
    if launch.mode not in (CHAT, PROMPT, *SERVING):
        return stored_prompts.Plan()
    model = next(model for model in manifest.models if model.path == launch.model)
    given = options.parse(launch.core)
    now = stored_prompts.Situation(
        part.path, part.sha256, manifest.llama_cpp.commit, given, launch.system_prompt,
        context(choice.path.context, given, model.context_length), choice.path.flash,
    )  # fmt: skip
    found = stored_prompts.plan(manifest, now)
    if launch.mode not in SERVING:  # nobody sends the other texts there
        used = tuple(prompt for prompt in found.used if prompt.path == stored_prompts.SYSTEM)
        return found._replace(used=used, again=False)
    return found


def context(chosen: int, given: Sequence[options.Given], own: int | None) -> int:
    """Tokens of context: as many as were found to fit, or asked for, or the model's own; 0 where nobody knows."""
    asked = [int(one.values[0]) for one in given if one.option.key == "-c"]
    return chosen or (asked[-1] if asked else 0) or own or 0


def sentences(found: Plan) -> Iterator[str]:
    """What a person is told at a start."""
    if found.used:
        tokens = sum(prompt.tokens for prompt in found.used)
        what = "The stored prompt is" if len(found.used) == 1 else f"{len(found.used)} stored prompts are"
        yield f"{what} taken as read: {tokens} tokens."
    yield from stored_prompts.sentences(found)


def begin(found: Plan, bundle: Bundle, cache: Path, engine: LlamaEngine, say: Say) -> threading.Thread:
    """Unpack and hand over what is used, on a thread of its own; says what cannot be used after all."""
    thread = threading.Thread(target=_hand_over, args=(found, bundle, cache, engine, say),
                              name="solofile-prompts", daemon=True)  # fmt: skip
    thread.start()
    return thread


def _hand_over(found: Plan, bundle: Bundle, cache: Path, engine: LlamaEngine, say: Say) -> None:
    with contextlib.ExitStack() as stack:
        ready: list[Prompt] = []
        files: list[Path] = []
        try:
            for prompt in found.used:
                file = _unpacked(bundle, prompt, cache, stack, say)
                if file is not None:
                    ready.append(prompt)
                    files.append(file)
        finally:
            engine.give_prompts([*files, *files[: found.again]])  # the engine waits for it
        if ready:
            for sentence in _failures(ready, _outcome(engine)):
                say(sentence)


def _outcome(engine: LlamaEngine) -> list[dict[str, Any]]:
    pause = threading.Event()
    while (outcome := engine.prompts()) is None and engine.state().phase in ("loading", "ready"):
        pause.wait(_LOOK)
    return outcome or []


def _failures(prompts: Sequence[Prompt], outcome: Sequence[dict[str, Any]]) -> Iterator[str]:
    for prompt, one in zip(prompts, outcome, strict=False):
        if "error" in one:
            why = str(one["error"]).rstrip(".")
            yield f"The stored prompt {prompt.path} is not used, since llama.cpp refuses it ({why}): {_COMPUTED}."


def _unpacked(bundle: Bundle, prompt: Prompt, cache: Path, stack: contextlib.ExitStack, say: Say) -> Path | None:
    """A file of its own with the state, until ``stack`` ends; None, and a word, where there is none."""
    try:
        return _in_memory(bundle, prompt, stack) or _in_cache(bundle, prompt, cache, stack)
    except DamagedBundle as error:
        say(f"The stored prompt {prompt.path} is not used, since it is damaged, and {_COMPUTED}. {error}")
    except OSError as error:
        say(f"The stored prompt {prompt.path} cannot be unpacked ({error.strerror}), so {_COMPUTED}.")
    return None


def _in_memory(bundle: Bundle, prompt: Prompt, stack: contextlib.ExitStack) -> Path | None:
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("solofile-prompt")
    stack.callback(os.close, descriptor)
    path = Path(f"/proc/self/fd/{descriptor}")
    if not path.exists():
        return None
    _write(bundle, prompt, descriptor)
    return path


def _in_cache(bundle: Bundle, prompt: Prompt, cache: Path, stack: contextlib.ExitStack) -> Path:
    path = cache / "state" / f".tmp-prompt-{os.getpid()}-{Path(prompt.path).name}"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    stack.callback(path.unlink, missing_ok=True)
    try:
        _write(bundle, prompt, descriptor)
    finally:
        os.close(descriptor)
    return path


def _write(bundle: Bundle, prompt: Prompt, descriptor: int) -> None:
    for chunk in bundle.open_part(prompt.path):  # compares it with its hash
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
