"""The bundle answers: the right thing, from anywhere, as llama-server would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from running import QUESTION, Running, serve

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


def test_it_knows_the_capital_of_france(run_bundle: Run) -> None:
    done = run_bundle("-p", QUESTION)
    assert "Paris" in done.stdout
    assert done.stderr == ""
    assert done.returncode == 0


def test_it_answers_from_an_awkward_place(run_bundle: Run, smollm2_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Ein Ordner für Übungen – 模型"
    folder.mkdir()
    copy = folder / "my model.exe"
    shutil.copy2(smollm2_bundle, copy)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "start"
    link.symlink_to(copy)
    done = run_bundle("-p", QUESTION, bundle=link, cwd="/", env={})
    assert "Paris" in done.stdout
    assert done.returncode == 0


def test_it_reads_standard_input(run_bundle: Run) -> None:
    done = run_bundle("-p", "-", stdin=None, input=QUESTION)
    assert "Paris" in done.stdout


def test_the_number_of_tokens_is_kept(run_bundle: Run) -> None:
    assert len(run_bundle("-p", "Tell a long story.", "-n", "5").stdout.split()) <= 6


def test_the_text_is_that_of_llama_server(
    run_bundle: Run, smollm2_bundle: Path, reference_server: Path, smollm2_gguf: Path
) -> None:
    with zipfile.ZipFile(smollm2_bundle) as archive:
        manifest = json.loads(archive.read("solofile.json"))
    system = manifest["system_prompt"]
    with serve([reference_server, "-m", smollm2_gguf, *manifest["arguments"]], dict(os.environ)) as reference:
        for prompt in (
            QUESTION,
            "Write four lines about the sea.",
            "Count from one to twenty.",
            "Was ist ein Vulkan? 🌋",
        ):
            messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
            body = {"messages": messages, "temperature": 0, "max_tokens": 120}
            theirs = reference.json("POST", "/v1/chat/completions", body)["choices"][0]["message"]["content"]
            ours = run_bundle("-p", prompt, "-n", "120", "--temp", "0").stdout
            assert ours.rstrip("\n") == theirs.rstrip("\n")


def test_errors_are_those_of_llama_server(server: Running, reference_server: Path, smollm2_gguf: Path) -> None:
    hostile: list[tuple[str, str, object]] = [
        ("POST", "/v1/chat/completions", {"messages": "none"}),
        ("POST", "/v1/chat/completions", {}),
        ("POST", "/v1/chat/completions", {"messages": [{"role": "user"}]}),
        ("POST", "/v1/completions", {"prompt": {"a": 1}}),
        ("POST", "/completion", {"prompt": "x", "n_predict": "many"}),
        ("POST", "/v1/embeddings", {"input": "x"}),
        ("POST", "/rerank", {}),
        ("POST", "/infill", {}),
        ("GET", "/no/such/path", None),
    ]
    with serve([reference_server, "-m", smollm2_gguf, "--metrics", "--slots"], dict(os.environ)) as reference:
        for method, path, body in hostile:
            theirs, ours = reference.request(method, path, body), server.request(method, path, body)
            assert (path, ours[0], json.loads(ours[1])) == (path, theirs[0], json.loads(theirs[1]))


def test_the_openai_client(server: Running) -> None:
    openai = pytest.importorskip("openai")
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTION}]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        name = client.models.list().data[0].id
        whole = client.chat.completions.create(model=name, messages=messages, temperature=0)
        assert "Paris" in whole.choices[0].message.content
        pieces = client.chat.completions.create(model=name, messages=messages, temperature=0, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == whole.choices[0].message.content


def test_the_openai_client_gets_embeddings(smollm2_bundle: Path, environment: dict[str, str]) -> None:
    openai = pytest.importorskip("openai")

    def product(a: list[float], b: list[float]) -> float:
        return float(sum(x * y for x, y in zip(a, b, strict=True)))

    with (
        serve([smollm2_bundle, "--server", "--embeddings", "--pooling", "mean"], environment) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="none") as client,
    ):
        one, same, other = client.embeddings.create(model="any", input=["a cat", "a cat", "quantum field theory"]).data
        assert len(one.embedding) == 576  # SmolLM2-135M's embedding length
        assert product(one.embedding, same.embedding) == pytest.approx(1, abs=1e-3)
        assert product(one.embedding, other.embedding) < 0.99


def test_the_anthropic_client(server: Running) -> None:
    anthropic = pytest.importorskip("anthropic")
    question = {"role": "user", "content": QUESTION}
    facts = {"model": "any", "max_tokens": 40, "system": "You are a helpful assistant."}
    with anthropic.Anthropic(base_url=server.url, api_key="none") as client:
        answer = client.messages.create(messages=[question], **facts)
        assert "Paris" in answer.content[0].text
        with client.messages.stream(messages=[question], **facts) as stream:
            assert "".join(stream.text_stream) == answer.content[0].text
        assert client.messages.count_tokens(model="any", messages=[question]).input_tokens > 5
