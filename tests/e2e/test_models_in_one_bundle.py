"""A real bundle of two models, one of which sees: which runs, the change of it, pictures, its icon and greeting."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from faults import children, threads
from running import QUESTION, Running, is_running, next_life, serve

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "benchmarks")]

from cgroups import memory_limit  # noqa: E402
from tiny_model import write_tiny_model, write_tiny_projector  # noqa: E402

RECIPE = """
name = "pair"
title = "Two models"
greeting = "Welcome to both."
icon = "icon.svg"
[[models]]
path = "tiny.gguf"
name = "tiny"
arguments = ["-c", "1024"]
[models.projector]
path = "mmproj.gguf"
[[models]]
path = "{model}"
name = "smollm2"
system_prompt = "You are a helpful assistant."
"""
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8z"/></svg>'
MIB = 1 << 20


@pytest.fixture(scope="module")
def bundle(pack: Path, smollm2_gguf: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a recipe by the real command line."""
    folder = tmp_path_factory.mktemp("pair")
    write_tiny_model(folder / "tiny.gguf", pictures=True)
    write_tiny_projector(folder / "mmproj.gguf")
    (folder / "icon.svg").write_text(ICON)
    (folder / "pair.toml").write_text(RECIPE.format(model=smollm2_gguf))
    command = [*solofile, "build", str(folder / "pair.toml"), "-o", str(folder / "pair.exe"), "--pack", str(pack)]
    subprocess.run(command, check=True, timeout=300)
    return folder / "pair.exe"


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(bundle: Path, run_bundle: Run) -> Run:
    return lambda *words, **changes: run_bundle(*words, bundle=bundle, **changes)


@pytest.fixture
def server(bundle: Path, environment: dict[str, str]) -> Iterator[Running]:
    with serve([bundle, "--server", "--api-key", "k"], environment) as running:
        yield running


KEY = {"Authorization": "Bearer k"}


def change(server: Running, model: str) -> None:
    """What the page does, and wait until the model is there."""
    origin = {"Origin": server.url}
    status, body = server.request("POST", "/solofile/model", {"model": model}, **KEY, **origin)
    assert status == 202, body
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            about = server.json("GET", "/solofile/about", **KEY)
            if about["model"] == model and server.json("GET", "/solofile/status")["phase"] == "ready":
                return
        except ConnectionResetError:  # the connection of a moment ago
            continue
        time.sleep(0.05)
    raise AssertionError(f"{model} did not come")


def ask(server: Running, content: Any = QUESTION, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 16, "temperature": 0, **fields}
    answer: dict[str, Any] = server.json("POST", "/v1/chat/completions", body, **KEY)
    return answer


def picture(width: int = 48, height: int = 40) -> str:
    """A PNG with some colours, as a data: URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(y: int) -> bytes:
        return b"\0" + bytes(value % 256 for x in range(width) for value in (5 * x, 9 * y, x * y))

    rows = b"".join(map(row, range(height)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_the_largest_by_itself_and_any_by_name(run: Run, run_bundle: Run) -> None:
    asked = ("-p", QUESTION, "-n", "12", "--temp", "0")
    plain, named = run(*asked), run(*asked, "--use", "smollm2")
    assert "Paris" in plain.stdout
    assert plain.stdout == named.stdout
    other = run(*asked, "--use", "tiny")
    assert other.returncode == 0
    assert "Paris" not in other.stdout
    wrong = run(*asked, "--use", "smolm2")
    assert (wrong.returncode, "did you mean smollm2?" in wrong.stderr) == (2, True)
    assert run_bundle(*asked).stdout == plain.stdout  # as the bundle of that model alone


def test_what_doctor_says(run: Run) -> None:
    report = json.loads(run("--doctor", "--json").stdout)
    first = report["choice"]["decisions"][0]
    assert (first["part"], first["value"]) == ("model", "smollm2")
    assert first["reason"].startswith("the largest of 2 (")
    assert first["losers"] == [{"value": "tiny", "reason": "smaller; --use tiny runs it"}]
    needs = 98_362_432 + 8192 * (2 * 30 * 2 * 3 * 64 + 1024)
    assert report["choice"]["memory"]["needed"] == pytest.approx(needs, rel=0.05)  # what the choice was made by
    assert "smaller; --use tiny runs it" in run("--doctor").stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="control groups need root")
def test_a_container_with_little_memory(bundle: Path, environment: dict[str, str]) -> None:
    with memory_limit(400 * MIB) as group:
        done = subprocess.run(
            group.command([bundle, "--doctor", "--json"]), env=environment, capture_output=True, text=True, timeout=120
        )
        report = json.loads(done.stdout)
        first = report["choice"]["decisions"][0]
        assert (first["value"], first["losers"][0]["value"]) == ("tiny", "smollm2")
        assert first["reason"].startswith("the largest that fits of 2 (")
        assert "does not fit, it takes 3" in first["losers"][0]["reason"]
        with serve(group.command([bundle, "--server"]), environment) as running:  # type: ignore[arg-type]
            about = running.json("GET", "/solofile/about")
            assert about["model"] == "tiny"
            assert {one["name"]: one["fits"] for one in about["models"]} == {"tiny": True, "smollm2": False}
        assert "Model: tiny, the largest that fits of 2" in running.errors


def test_the_page_changes_the_model(server: Running) -> None:
    first = ask(server)
    assert first["model"] == "smollm2"
    pid = server.model_pid()
    change(server, "tiny")
    assert server.model_pid() == pid
    assert ask(server)["model"] == "tiny"
    assert server.json("GET", "/solofile/about", **KEY)["system_prompt"] is None
    change(server, "smollm2")
    again = ask(server)
    assert again["choices"][0]["message"]["content"] == first["choices"][0]["message"]["content"]
    assert server.json("GET", "/solofile/about", **KEY)["system_prompt"] == "You are a helpful assistant."
    status, _ = server.request("POST", "/solofile/model", {"model": "tiny"}, Origin=server.url)
    assert status == 401


def serving(server: Running) -> int:
    """The process that holds the model: the child of the one that stays outside the sandbox."""
    (found,) = children(server.model_pid())
    return found


def confined(server: Running) -> bool:
    return all(one == {"NoNewPrivs": "1", "Seccomp": "2"} for one in threads(serving(server)))


def test_who_is_confined_before_and_after_a_change(server: Running) -> None:
    outside = server.model_pid()
    for model in ("tiny", "smollm2"):
        before = {serving(server), *children(serving(server))}
        end = time.monotonic() + 20
        while not confined(server):
            assert time.monotonic() < end
            time.sleep(0.05)
        change(server, model)
        assert server.model_pid() == outside
        while any(Path(f"/proc/{pid}").exists() for pid in before):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert {one["Seccomp"] for one in threads(outside)} == {"0"}


@pytest.mark.parametrize("which", ["the one outside", "the one that serves"])
def test_kill_9(bundle: Path, environment: dict[str, str], which: str) -> None:
    with serve([bundle, "--server", "--api-key", "k", "--use", "tiny"], environment) as running:
        outside, inside = running.model_pid(), serving(running)
        time.sleep(11)  # a server that worked for a while is missed
        os.kill(outside if which == "the one outside" else inside, signal.SIGKILL)
        next_life(running, outside)
        end = time.monotonic() + 10
        while is_running(inside):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert ask(running)["model"] == "tiny"
    assert "the runtime was killed (SIGKILL), noted in " in running.errors


def test_a_crash_of_the_one_that_serves(bundle: Path, environment: dict[str, str]) -> None:
    with serve([bundle, "--server", "--api-key", "k", "--use", "tiny"], environment) as running:
        outside = running.model_pid()
        os.kill(serving(running), signal.SIGSEGV)
        next_life(running, outside)
        assert ask(running)["model"] == "tiny"
        change(running, "smollm2")
        assert ask(running)["model"] == "smollm2"
    assert "the runtime crashed (SIGSEGV), noted in " in running.errors
    assert "Kernels: x64" in running.errors


def test_a_change_ends_what_is_being_answered(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {"prompt": "One, two, three,", "n_predict": 8000, "stream": True, "ignore_eos": True}
    connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json", **KEY})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    change(server, "tiny")
    rest = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while piece := answer.read1():
            rest += piece
    connection.close()
    assert b'"stop":true' not in rest  # it did not come to its end
    assert ask(server)["model"] == "tiny"


def test_clients_of_the_api(server: Running) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
    listed = {one.id: one.status["value"] for one in client.models.list().data}  # type: ignore[attr-defined]
    assert listed == {"smollm2": "loaded", "tiny": "unloaded"}
    messages: Any = [{"role": "user", "content": QUESTION}]
    with pytest.raises(openai.BadRequestError, match="model 'tiny' is not loaded, 'smollm2' is"):
        client.chat.completions.create(model="tiny", messages=messages)
    with pytest.raises(openai.BadRequestError, match="model 'gpt-4' not found: this bundle has tiny, smollm2"):
        client.chat.completions.create(model="gpt-4", messages=messages)
    assert client.chat.completions.create(model="smollm2", messages=messages, max_tokens=4).usage is not None


def test_a_picture_is_read(bundle: Path, environment: dict[str, str], cache: Path) -> None:
    parts = [{"type": "image_url", "image_url": {"url": picture()}}, {"type": "text", "text": QUESTION}]
    with serve([bundle, "--server", "--api-key", "k", "--use", "tiny"], environment) as running:
        assert running.json("GET", "/props", **KEY)["modalities"]["vision"] is True
        plain, seen, again = ask(running), ask(running, parts), ask(running, parts)
        assert seen["usage"]["prompt_tokens"] >= plain["usage"]["prompt_tokens"] + 4  # 2 x 2 pieces of picture
        assert again["choices"][0]["message"]["content"] == seen["choices"][0]["message"]["content"]
        broken = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        body = {"messages": [{"role": "user", "content": broken}]}
        status, content = running.request("POST", "/v1/chat/completions", body, **KEY)
        assert (status, b"error" in content) == (400, True)
        assert ask(running)["model"] == "tiny"  # it goes on
    (copy,) = cache.glob("models/*/mmproj-mmproj.gguf")
    assert copy.read_bytes() == (bundle.parent / "mmproj.gguf").read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o444


def test_the_projector_is_made_anew_where_it_was_changed(run: Run, cache: Path, bundle: Path) -> None:
    asked = ("--use", "tiny", "-p", QUESTION, "-n", "2")
    assert run(*asked).returncode == 0
    (copy,) = cache.glob("models/*/mmproj-mmproj.gguf")
    copy.parent.chmod(0o700)
    copy.chmod(0o600)
    copy.write_bytes(b"GGUF")
    done = run(*asked)
    assert (done.returncode, "was damaged, so it was made again" in done.stderr) == (0, True)
    assert copy.read_bytes() == (bundle.parent / "mmproj.gguf").read_bytes()
    assert run(*asked, "--no-mmproj").returncode == 0


def test_icon_and_greeting(server: Running) -> None:
    assert server.request("GET", "/icon") == (200, ICON.encode())
    about = server.json("GET", "/solofile/about", **KEY)
    assert (about["greeting"], about["title"]) == ("Welcome to both.", "Two models")
