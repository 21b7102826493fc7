"""``tool_choice`` as clients send it, in the words that llama.cpp knows: auto, none and required.

Its server takes an object, the one form that names a tool, for ``auto``; the answer is prose where the client waits for
a call. Most libraries send it for structured output. A named tool becomes the only one, and required: so the grammar of
the answer has nothing else.

- chat completions: ``{"type": "function", "function": {"name": …}}``
- responses: ``{"type": "function", "name": …}``
- both: ``{"type": "allowed_tools", …}``, with a mode and a list of tools
- Anthropic's messages: ``{"type": "tool", "name": …}``; its ``{"type": "none"}`` takes the tools away
"""

from __future__ import annotations

from typing import Any

from solofile.runtime.http_errors import BadBodyError

_MODES = frozenset({"auto", "required"})


def settle(asked: dict[str, Any], *, messages: bool) -> dict[str, Any]:
    """The request that llama.cpp is to get, itself where it names no tool; ``messages``: is it Anthropic's kind?

    `BadBodyError` where a tool is named that the request does not have.
    """
    choice = asked.get("tool_choice")
    if not isinstance(choice, dict) or not isinstance(asked.get("tools"), list):
        return asked
    if choice.get("type") == "none":
        return {name: value for name, value in asked.items() if name not in ("tools", "tool_choice")}
    wanted, mode = _wanted(choice)
    if not wanted:
        return asked
    kept = [tool for tool in asked["tools"] if _name(tool) in wanted]
    if missing := wanted - {_name(tool) for tool in kept}:
        raise BadBodyError(f"tool_choice names {min(missing)[:80]}, which is not among the tools: name one that is.")
    return {**asked, "tools": kept, "tool_choice": {"type": "any"} if messages else mode}


def _wanted(choice: dict[str, Any]) -> tuple[set[str], str]:
    """The names of the tools that may be called, none for whatever there is, and whether one must be."""
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        about = inner if isinstance(inner, dict) else choice
        tools, mode = about.get("tools"), about.get("mode")
        names = {_name(tool) for tool in tools} if isinstance(tools, list) else set()
        return names - {""}, mode if isinstance(mode, str) and mode in _MODES else "auto"
    name = _name(choice)
    return ({name} if name else set()), "required"


def _name(tool: object) -> str:
    """Of a tool, or of what refers to one; empty where it has none."""
    if not isinstance(tool, dict):
        return ""
    inner = tool.get("function")
    name = (inner if isinstance(inner, dict) else tool).get("name")
    return name if isinstance(name, str) else ""
