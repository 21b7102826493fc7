"""Tries a chat template on a few conversations, in a child process, before a bundle is built with it.

llama.cpp renders where its libraries are in the build cache: it is what will do it in the bundle. Elsewhere the Python
package jinja2 does, if it is there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from solofile.builder.child import ChildFailure, clause, run_child
from solofile.builder.stand_in import write_stand_in

SECONDS = 5.0
"""What a template may take; it takes a tenth of one."""

_USER, _ANSWER, _SYSTEM, _TOOL = "solofile asks", "solofile hears", "solofile rules", "solofile_tool"
_FUNCTION = {
    "name": _TOOL,
    "description": "Looks something up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}


def _said(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


CONVERSATIONS: Mapping[str, dict[str, Any]] = {
    "plain": _said(("user", _USER)),
    "system": _said(("system", _SYSTEM), ("user", _USER)),
    "turns": _said(("user", _USER), ("assistant", _ANSWER), ("user", _USER)),
    "tools": _said(("user", _USER), tools=[{"type": "function", "function": _FUNCTION}]),
}


@dataclass(frozen=True)
class Trial:
    """How a template did. ``problem``: why it cannot be used, as a clause; ``lacks``: what it does without."""

    problem: str | None = None
    lacks: tuple[str, ...] = ()
    tried: bool = True


def try_template(template: str, libraries: Path | None) -> Trial:
    """Render the conversations by ``template``, with llama.cpp's ``libraries`` or else with jinja2."""
    try:
        if libraries is not None:
            rendered = _by_llama_cpp(template, libraries)
        elif PathFinder.find_spec("jinja2") is not None:  # a name in sys.modules may be a stand-in of the runtime's
            job = {"template": template, "conversations": CONVERSATIONS}
            rendered = run_child("render_by_jinja", job, seconds=SECONDS)["rendered"]
        else:
            return Trial(tried=False)
    except ChildFailure as failure:
        if failure.unusable:
            return try_template(template, None)
        return Trial(str(failure))
    return judge(rendered)


def _by_llama_cpp(template: str, libraries: Path) -> dict[str, dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stand-in.gguf"
        write_stand_in(file, template)
        job = {"libraries": str(libraries), "file": str(file), "start": 0, "size": file.stat().st_size}
        job |= {"options": [], "conversations": CONVERSATIONS}
        rendered: dict[str, dict[str, str]] = run_child("render", job, seconds=SECONDS)["rendered"]
        return rendered


def judge(rendered: Mapping[str, Mapping[str, str]]) -> Trial:
    """What the rendered conversations say of their template."""
    plain = rendered["plain"]
    if "problem" in plain:
        return Trial(clause(plain["problem"]))
    if _USER not in plain["text"]:
        return Trial("it leaves out what the user writes")
    wanted = {"system": (_SYSTEM, "a system prompt"), "turns": (_ANSWER, "earlier answers"), "tools": (_TOOL, "tools")}
    return Trial(lacks=tuple(what for name, (word, what) in wanted.items() if word not in _text(rendered[name])))


def _text(one: Mapping[str, str]) -> str:
    return one.get("text", "")
