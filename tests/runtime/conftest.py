"""A bundle, a cache of its own for every test, and a fake in the engine's place."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fake_engine import FakeEngine, Script  # noqa: E402
from rules import choose_by_rules  # noqa: E402
from small_bundle import make_bundle  # noqa: E402
from solofile.runtime import boot  # noqa: E402
from solofile.runtime.container import Bundle  # noqa: E402
from solofile.runtime.settings import Launch  # noqa: E402


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with a system prompt and a greeting."""
    given = {"system_prompt": "Be brief.", "arguments": ("-c", "512"), "greeting": "Welcome to it."}
    return make_bundle(tmp_path_factory.mktemp("bundle"), **given)  # type: ignore[arg-type]


@pytest.fixture
def environ(bundle_path: Path, tmp_path: Path) -> dict[str, str]:
    """What the launcher would set."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    return {"SOLOFILE_BUNDLE": str(bundle_path), "SOLOFILE_CACHE_DIR": str(cache)}


@pytest.fixture(autouse=True)
def empty_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """-p reads what is piped in; here nothing is."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that says Paris, in pieces."""
    fake = FakeEngine()
    fake.on("POST", "/v1/chat/completions", Script.sse(["Par", "is."]))
    return fake


@pytest.fixture
def start(engine: FakeEngine) -> boot.Starter:
    """Starts the fake in place of llama.cpp, choosing kernels as the real start does."""

    def start_fake(launch: Launch, bundle: Bundle, environ: Mapping[str, str], *_: object) -> boot.Started:
        return boot.Started(engine, choose_by_rules(launch, bundle, environ))

    return start_fake
