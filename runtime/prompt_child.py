"""The child process of a build that has a model read texts and saves the states: started by ``builder/prompts.py``.

It is the runtime that will restore them, with SOLOFILE_CHILD=prompt in its environment. It reads one line of JSON:

    {"native_dir": …, "backends": [the CPU variant's library], "arguments": [llama-server's], "context": tokens,
     "members": [{"name", "file", "offset", "size"}], "folder": where the states go, "least": tokens,
     "texts": [{"name": …, "chat": the body of a chat request} or {"name", "text"} or {"name", "tokens": […]}]}

and answers in lines of JSON: ``{"reading": name, "done": tokens, "total": tokens}`` while it goes on, at last
``{"states": [{"name", "tokens"} or {"name", "refused": half a sentence}]}``, each state in ``<folder>/<name>.kv``; or
``{"needs": tokens}`` where the context was too short, or ``{"failure": sentence}``.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solofile.runtime.engine import LlamaEngine, Member
from solofile.runtime.engine_api import Request, failure
from solofile.runtime.errors import EngineError, SolofileError
from solofile.runtime.stored_prompts import SPARE

if TYPE_CHECKING:
    from solofile.runtime.engine_api import Engine

CONTINUATIONS = ("a", "The", "Ünd", "7", " b", "\n- x", "<", "你好", '"')
"""What may come behind a text: what all of them leave of its tokens as they are is what can be read beforehand."""

Say = Callable[[Mapping[str, Any]], None]


class _Needs(Exception):  # noqa: N818 - reads as what happened
    """The context is too short; ``tokens`` would do."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


def main() -> int:
    """Read a job, do it, and answer; returns the exit code."""
    from solofile.runtime import probe_child

    answer, job = probe_child.begin()
    if job is None:
        return 2

    def say(line: Mapping[str, Any]) -> None:
        os.write(answer, json.dumps(line).encode() + b"\n")

    try:
        say({"states": _made(job, say)})
    except _Needs as found:
        say({"needs": found.tokens})
    except SolofileError as error:
        say({"failure": str(error)})
    except MemoryError:
        say({"failure": "The memory does not hold the model."})
    return 0


def _made(job: Mapping[str, Any], say: Say) -> list[dict[str, Any]]:
    folder = Path(job["folder"])
    engine = LlamaEngine.start(
        Path(job["native_dir"]),
        [Path(path) for path in job["backends"]],
        [*job["arguments"], "-c", str(job["context"]), "--slot-save-path", f"{folder}{os.sep}"],
        [Member(**{**one, "file": Path(one["file"])}) for one in job["members"]],
    )
    state = engine.wait()
    if state.phase != "ready":
        raise EngineError(failure(state))
    found = [(text["name"], *tokens_of(engine, text)) for text in job["texts"]]
    longest = max((len(tokens) for _, tokens, _ in found), default=0)
    if longest + SPARE > job["context"]:
        raise _Needs(longest + SPARE)
    return [_state(engine, name, tokens, why, job["least"], say) for name, tokens, why in found]


def _state(engine: Engine, name: str, tokens: list[int], why: str, least: int, say: Say) -> dict[str, Any]:
    if not why and len(tokens) < least:
        why = f"it has {len(tokens)} tokens that are the same in every request, which are read as fast as restored"
    if why:
        return {"name": name, "refused": why}
    body = {"prompt": tokens, "n_predict": 0, "id_slot": 0, "cache_prompt": False, "stream": True,
            "return_progress": True}  # fmt: skip
    for event in _events(engine, Request("POST", "/completion", "", {}, json.dumps(body).encode())):
        if "prompt_progress" in event:
            say({"reading": name, "done": event["prompt_progress"]["processed"], "total": len(tokens)})
    saved = ask(engine, "/slots/0", {"filename": f"{name}.kv"}, "action=save")
    if saved["n_saved"] != len(tokens):
        raise EngineError(f"llama.cpp saved {saved['n_saved']} tokens of the {len(tokens)} of {name}.")
    return {"name": name, "tokens": len(tokens)}


def tokens_of(engine: Engine, text: Mapping[str, Any]) -> tuple[list[int], str]:
    """The tokens with which whatever begins with this text begins; and why they cannot be stored, if they cannot."""
    if "tokens" in text:
        return list(text["tokens"]), ""
    if "text" in text:
        return _common([_tokens(engine, text["text"] + more) for more in CONTINUATIONS]), ""
    chat = text["chat"]
    asked = [{**chat, "messages": [*chat["messages"], {"role": "user", "content": one}]} for one in CONTINUATIONS]
    rendered = [str(ask(engine, "/apply-template", body)["prompt"]) for body in asked]
    if changes_daily(str(ask(engine, "/props", None).get("chat_template", "")), rendered[0], json.dumps(chat)):
        return [], "the chat template writes the date into each prompt"
    return _common([_tokens(engine, one) for one in rendered]), ""


def changes_daily(template: str, rendered: str, given: str) -> bool:
    """Does a template put the date of the day into what it renders, so that a state of it holds for one day?"""
    year = str(datetime.datetime.now().astimezone().year)
    return "strftime_now" in template and year in rendered and year not in given


def _common(lists: list[list[int]]) -> list[int]:
    """The longest beginning that all have."""
    first, last = min(lists), max(lists)
    same = next((at for at, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), len(first))
    return first[: min(same, len(last))]


def _tokens(engine: Engine, text: str) -> list[int]:
    """As the core makes tokens of a prompt."""
    found: list[int] = ask(engine, "/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
    return found


def ask(engine: Engine, path: str, body: Mapping[str, Any] | None, query: str = "") -> dict[str, Any]:
    """The answer of a route. Raises EngineError where it is none."""
    data = b"" if body is None else json.dumps(body).encode()
    response = engine.call(Request("GET" if body is None else "POST", path, query, {}, data)).run()
    try:
        found: dict[str, Any] = json.loads(b"".join(response))
    finally:
        response.close()
    if response.status != 200:
        raise EngineError(f"llama.cpp refuses {path}: {found.get('error', {}).get('message', response.status)}.")
    return found


def _events(engine: Engine, request: Request) -> Iterator[dict[str, Any]]:
    response, rest = engine.call(request).run(), b""
    try:
        for chunk in response:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith((b"data: {", b"error: {")):
                    yield _event(line)
    finally:
        response.close()
    if response.status != 200:
        raise EngineError(f"llama.cpp does not read the text: {rest.decode('utf-8', 'replace')[:200]}.")


def _event(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.partition(b": ")[2])
    if "error" in found:
        raise EngineError(f"llama.cpp does not read the text: {found['error'].get('message', found['error'])}.")
    return found
