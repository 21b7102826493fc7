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
    from solofile.runtime.server_settings import Icon
    from solofile.runtime.which_model import Picked

SAMPLING = {
    "temperature": ("--temp", 0.8),
    "top_p": ("--top-p", 0.95),
    "top_k": ("--top-k", 40),
    "min_p": ("--min-p", 0.05),
    "repeat_penalty": ("--repeat-penalty", 1.0),
    "presence_penalty": ("--presence-penalty", 0.0),
    "frequency_penalty": ("--frequency-penalty", 0.0),
    "max_tokens": ("-n", -1),
    "seed": ("-s", -1),
}
"""Each default of sampling: the option that sets it, and llama.cpp's own value; -1 is no limit, and a random seed."""

_RANDOM_SEED = 0xFFFFFFFF

_ICON_KINDS = {"png": "image/png", "ico": "image/x-icon", "svg": "image/svg+xml; charset=utf-8"}
_ICON_LIMIT = 1 << 20

_INTEGRITY = {
    "state": "partly checked",
    "detail": "The directory and the manifest are as they were built; --verify compares every byte of the parts.",
}


def facts(bundle: Bundle, default_model: str, given: tuple[Given, ...], **more: Any) -> dict[str, Any]:
    """The facts of a start; ``default_model`` is the path of the model that runs, ``more`` are further fields."""
    import hashlib

    manifest = bundle.manifest
    running = next(model for model in manifest.models if model.path == default_model)
    return {
        "digest": hashlib.sha256(bundle.manifest_bytes).hexdigest(),
        "greeting": manifest.greeting,
        "models": [_model(model) for model in manifest.models],
        "model": running.name,
        "size": running.size,
        "defaults": defaults(given),
        "integrity": _INTEGRITY,
        "llama_cpp": {"version": manifest.llama_cpp.version, "commit": manifest.llama_cpp.commit},
        **more,
    }


def icon(bundle: Bundle) -> Icon | None:
    """The bundle's own icon. Raises DamagedBundle."""
    path = bundle.manifest.icon
    if path is None:
        return None
    from solofile.runtime.server_settings import Icon

    kind = _ICON_KINDS.get(path.rpartition(".")[2], "application/octet-stream")
    return Icon(bundle.read(path, limit=_ICON_LIMIT), kind, f'"{bundle.part(path).sha256[:32]}"')


def models(picked: Picked) -> list[dict[str, Any]]:
    """The bundle's models with what each needs of the memory, in bytes, for so many tokens, and whether that fits."""
    return [
        {**_model(one.model), "needs": one.needs, "needs_context": one.estimate.context, "fits": one.fits}
        for one in picked.verdicts
    ]


def _model(model: Model) -> dict[str, Any]:
    names = ("name", "title", "architecture", "parameters", "quantization", "context_length", "license", "size")
    return {name: getattr(model, name) for name in names}


def defaults(given: tuple[Given, ...]) -> dict[str, float]:
    """How answers are sampled where a request says nothing, by the options of the bundle and the user."""
    texts = {one.option.key: one.values[-1] for one in given if one.values}
    found = {name: _number(texts[key]) if key in texts else usual for name, (key, usual) in SAMPLING.items()}
    return _plain(found)


def in_force(engine: Engine, fallback: Mapping[str, float]) -> tuple[dict[str, float], int | None]:
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


def _plain(found: Mapping[str, float]) -> dict[str, float]:
    """Without what single precision adds to 0.95, and with one number for a random seed."""
    plain = {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in found.items()}
    return plain | ({"seed": -1} if plain.get("seed") == _RANDOM_SEED else {})


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
