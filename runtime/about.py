"""What the page says of the bundle, the machine and this start: the fields of ``/solofile/about``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime.engine_api import Engine, Request

if TYPE_CHECKING:
    from solofile.runtime.container import Bundle
    from solofile.runtime.manifest import Model
    from solofile.runtime.options import Given

SAMPLING = {
    "temperature": ("--temp", 0.8),
    "top_p": ("--top-p", 0.95),
    "top_k": ("--top-k", 40),
    "min_p": ("--min-p", 0.05),
    "repeat_penalty": ("--repeat-penalty", 1.0),
    "presence_penalty": ("--presence-penalty", 0.0),
    "frequency_penalty": ("--frequency-penalty", 0.0),
    "max_tokens": ("-n", None),
    "seed": ("-s", None),
}
"""Each default of sampling: the option that sets it, and llama.cpp's own value; None for no limit and a random seed."""

_RANDOM_SEED = 0xFFFFFFFF

_INTEGRITY = {
    "state": "directory",
    "detail": "The directory and the manifest are as they were built; --verify compares every byte of the parts.",
}


def facts(bundle: Bundle, default_model: str, given: tuple[Given, ...], **more: Any) -> dict[str, Any]:
    """The facts of a start; ``default_model`` is the path of the model that runs, ``more`` are further fields."""
    import hashlib

    manifest = bundle.manifest
    running = next(model for model in manifest.models if model.path == default_model)
    return {
        "digest": hashlib.sha256(bundle.manifest_bytes).hexdigest(),
        "greeting": None,
        "models": [_model(model) for model in manifest.models],
        "model": running.name,
        "size": running.size,
        "defaults": defaults(given),
        "integrity": _INTEGRITY,
        "llama_cpp": {"version": manifest.llama_cpp.version, "commit": manifest.llama_cpp.commit},
        **more,
    }


def _model(model: Model) -> dict[str, Any]:
    names = ("name", "architecture", "parameters", "quantization", "context_length", "license", "size")
    return {name: getattr(model, name) for name in names}


def defaults(given: tuple[Given, ...]) -> dict[str, float | None]:
    """How answers are sampled where a request says nothing, by the options of the bundle and the user."""
    texts = {one.option.key: one.values[-1] for one in given if one.values}
    found = {name: _number(texts[key]) if key in texts else usual for name, (key, usual) in SAMPLING.items()}
    return _plain(found)


def in_force(engine: Engine, fallback: Mapping[str, float | None]) -> tuple[dict[str, float | None], int | None]:
    """The same as the loaded model has it, which may bring its own, and the tokens of context that a chat has."""
    response = engine.call(Request("GET", "/props")).run()
    try:
        body = b"".join(response)
    finally:
        response.close()
    try:
        settings = json.loads(body)["default_generation_settings"]
        params = settings["params"]
    except (ValueError, KeyError, TypeError):
        return dict(fallback), None
    found = {name: params.get(name, fallback.get(name)) for name in SAMPLING}
    return _plain(found), settings.get("n_ctx")


def _plain(found: dict[str, float | None]) -> dict[str, float | None]:
    """Without llama.cpp's numbers that stand for none, and what single precision adds to 0.95."""
    limit, seed = found["max_tokens"], found["seed"]
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in found.items()} | {
        "max_tokens": None if limit is None or limit < 0 else limit,
        "seed": None if seed is None or seed in (-1, _RANDOM_SEED) else seed,
    }


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
