"""What child_main.py has the Python package jinja2 do, where llama.cpp's own renderer is not at hand."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any, NoReturn

from solofile.builder.child import Refused

SYNTAX = ("trim_blocks", "lstrip_blocks")
"""How Hugging Face has its templates read."""


def render_by_jinja(job: dict[str, Any], news: Callable[[Any], None]) -> dict[str, Any]:
    """Render each of the conversations of ``job`` by its template: the text, or what is wrong. It can reach nothing."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(**dict.fromkeys(SYNTAX, True), extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    environment.globals |= {"raise_exception": _raise, "strftime_now": _now}
    try:
        template = environment.from_string(job["template"])
    except TemplateError as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    news("ready")
    rendered = {}
    for name, one in job["conversations"].items():
        try:
            facts = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, **one}
            rendered[name] = {"text": template.render(add_generation_prompt=True, **facts)}
        except MemoryError:
            raise
        except Exception as error:  # a template is a program: whatever goes wrong in it is its own
            rendered[name] = {"problem": f"{type(error).__name__}: {error}"[:300]}
    return {"rendered": rendered}


def _raise(message: str) -> NoReturn:
    raise Refused(message)


def _now(layout: str) -> str:
    return datetime.datetime(2026, 1, 1).strftime(layout)
