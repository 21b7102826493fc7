"""A bundle with a LoRA adapter and a draft model inside answers as llama-server does with the same files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from running import QUESTION, Running, serve

SCALE, GUESSES = 0.5, 4
OPTIONS = ["--spec-type", "draft-simple", "--spec-draft-n-max", str(GUESSES)]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise on the attention of every layer: enough to change what the model says."""
    path = tmp_path_factory.mktemp("adapter") / "noise.gguf"
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8)
    for layer in range(30):
        for name in ("attn_q", "attn_output"):
            for part, shape in (("lora_a", (8, 576)), ("lora_b", (576, 8))):
                data = (random.standard_normal(shape) * 0.05).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.{name}.weight.{part}", data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def bundle(
    adapter: Path, smollm2_gguf: Path, pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Built from a recipe in a folder that is gone when the bundle starts. The model is its own draft."""
    folder = tmp_path_factory.mktemp("recipe")
    recipe, output = folder / "both.toml", folder / "both.exe"
    recipe.write_text(
        f'name = "both"\n[model]\npath = "{smollm2_gguf}"\n[draft]\npath = "{smollm2_gguf}"\ntokens = {GUESSES}\n'
        f'[[adapters]]\npath = "{adapter}"\nscale = {SCALE}\n'
    )
    subprocess.run([*solofile, "build", str(recipe), "-o", str(output), "--pack", str(pack)], check=True, timeout=300)
    recipe.unlink()
    return output


def answers(server: Running) -> list[tuple[str, int]]:
    """What it says, and how many guesses there were: with the adapter as it starts, without it, with it again."""
    found = []
    for scale in (None, 0.0, SCALE):
        if scale is not None:
            server.json("POST", "/lora-adapters", [{"id": 0, "scale": scale}])
        body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 24, "temperature": 0}
        answer: dict[str, Any] = server.json("POST", "/v1/chat/completions", {**body, "cache_prompt": False})
        found.append((answer["choices"][0]["message"]["content"], answer["timings"]["draft_n"]))
    return found


@contextmanager
def reference(server: Path, model: Path, adapter: Path, environment: dict[str, str]) -> Iterator[Running]:
    command = [server, "-m", model, "--lora-scaled", f"{adapter}:{SCALE}", "--spec-draft-model", model, *OPTIONS]
    with serve(command, environment) as running:
        yield running


def test_answers_are_those_of_llama_server(
    bundle: Path, adapter: Path, smollm2_gguf: Path, reference_server: Path, environment: dict[str, str]
) -> None:
    with serve([bundle, "--server"], environment, cwd=bundle.parent) as running:
        listed = running.json("GET", "/lora-adapters")
        assert [(one["path"], one["scale"]) for one in listed] == [("adapters/noise.gguf", SCALE)]
        found = answers(running)
    assert found[0] == found[2]
    assert found[0][0] != found[1][0]
    assert all(guesses > 0 for _, guesses in found)
    with reference(reference_server, smollm2_gguf, adapter, environment) as running:
        assert answers(running) == found


def test_memory_counts_the_draft(bundle: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [bundle, "--doctor"], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    weights = next(line for line in done.stdout.splitlines() if line.strip().startswith("weights, mapped in place"))
    assert float(weights.split()[-2]) == pytest.approx(2 * 96.6, abs=5)
