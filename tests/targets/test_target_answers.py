"""The same from end to end on every target: the bundle answers, serves, chats, and tells of itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from damaging import flip
from runners import Runner
from running import serve

pytestmark = pytest.mark.e2e

QUESTION = "What is the capital of France? Answer in one sentence."
"""Without the second sentence, “The” and “La” are equally likely for the demo model, and rounding differs."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(runner: Runner, target_bundle: Path, target_cache: Path) -> Run:
    """Runs the bundle with these words to its end."""

    def run(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return runner.run(target_bundle, *words, cache=target_cache, text=text)

    return run


def test_it_knows_the_capital_of_france(run: Run) -> None:
    done = run("-p", QUESTION)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Paris" in done.stdout
    assert "\r" not in done.stdout


def test_it_reads_standard_input_and_minds_n(run: Run) -> None:
    assert "Paris" in run("-p", "-", text=QUESTION).stdout
    assert len(run("-p", "Tell a long story.", "-n", "5").stdout.split()) <= 6


def test_words_with_quotes_and_backslashes_arrive(run: Run) -> None:
    done = run("-p", 'Say "a\\" \\\\b\\\\" ünï 模型', "-n", "1", "--temp", "0")
    assert done.returncode == 0, done.stderr
    done = run("-p", QUESTION, "--model", 'no "such\\" model\\')
    assert done.returncode == 2
    assert 'no "such\\" model\\' in done.stderr


def test_it_chats_over_a_pipe(run: Run) -> None:
    done = run("--chat", text=f"{QUESTION}\n")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


def test_the_openai_client_and_the_page(runner: Runner, target_bundle: Path, target_cache: Path) -> None:
    openai = pytest.importorskip("openai")
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTION}]
    command: list[str | Path] = [*runner.command(target_bundle, "--server")]
    with serve(command, runner.environment(target_cache), limit=60 * runner.patience) as running:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", timeout=300) as client:
            name = client.models.list().data[0].id
            whole = client.chat.completions.create(model=name, messages=messages, temperature=0)
            assert "Paris" in whole.choices[0].message.content
            pieces = client.chat.completions.create(model=name, messages=messages, temperature=0, stream=True)
            text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
            assert text == whole.choices[0].message.content
        status, page = running.request("GET", "/")
        assert status == 200 and b"<html" in page
    end = time.monotonic() + 10
    while answers(running.port) and time.monotonic() < end:
        time.sleep(0.1)
    assert not answers(running.port), "the runtime has outlived its launcher"


def answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_doctor_knows_the_target(run: Run, runner: Runner) -> None:
    report = json.loads(run("--doctor", "--json").stdout)
    assert report["hardware"]["target"] == runner.target
    assert set(report["bundle"]["kernels"][runner.target]) == set(runner.kernels.split(","))
    assert report["choice"]["path"]["variant"] in runner.kernels.split(",")


def test_it_tells_of_itself(run: Run, tmp_path: Path, runner: Runner) -> None:
    assert "llama.cpp" in run("--version").stdout
    assert "MIT License" in run("--licenses").stdout
    assert " is whole: " in run("--verify").stdout
    folder = tmp_path / "extracted"
    done = run("--extract", runner.path(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "solofile.json").is_file()
    assert next(folder.glob("models/*.gguf")).stat().st_size == 98_362_432


def test_the_second_start_unpacks_nothing(runner: Runner, target_bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "Zwischenspeicher für Übungen 模型"
    places = []
    for _ in range(2):
        done = runner.run(target_bundle, "-p", QUESTION, "-n", "8", cache=cache)
        assert done.returncode == 0, done.stderr
        files = (path for name in ("packs", "kernels") for path in (cache / name).rglob("*"))
        places.append({(str(path), path.stat().st_ino) for path in files if path.is_file() and path.suffix != ".lock"})
    assert places[0] == places[1]
    assert len(places[0]) > 5


def test_it_answers_from_an_awkward_place(
    runner: Runner, target_bundle: Path, target_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "Ein Ordner für Übungen – 模型"
    folder.mkdir()
    copy = folder / "my model.exe"
    os.link(target_bundle, copy)
    done = runner.run(copy, "-p", QUESTION, cache=target_cache)
    assert "Paris" in done.stdout, done.stderr


def test_a_split_bundle_needs_both_its_files(
    runner: Runner, target_pack: Path, target_cache: Path, solofile: list[str], tmp_path: Path
) -> None:
    bundle, model = tmp_path / "split.exe", tmp_path / "split.gguf"
    command = [*solofile, "build", "smollm2-135m.toml", "--pack", str(target_pack), "-o", str(bundle), "--split", "90m"]
    built = subprocess.run(command, check=True, timeout=600, capture_output=True, text=True)
    assert "keep both files together" in built.stdout
    assert model.stat().st_size == 98_362_432 and bundle.stat().st_size < 40_000_000
    done = runner.run(bundle, "-p", QUESTION, cache=target_cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Paris" in done.stdout
    assert " is whole: " in runner.run(bundle, "--verify", cache=target_cache).stdout
    with model.open("r+b") as file:
        file.write(b"X")
    done = runner.run(bundle, "-p", QUESTION, cache=target_cache)
    assert done.returncode == 2
    assert "it is not the file that belongs to split.exe" in done.stderr
    os.truncate(model, 1000)
    assert "it has 1000 bytes in place of 98362432" in runner.run(bundle, "-p", "x", cache=target_cache).stderr
    model.unlink()
    done = runner.run(bundle, "-p", QUESTION, cache=target_cache)
    assert done.returncode == 2
    assert "needs split.gguf beside it" in done.stderr and "keep both files together" in done.stderr


def test_a_damaged_file_is_refused(runner: Runner, target_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged.exe"
    shutil.copy2(target_bundle, copy)
    flip(copy, -2000)
    done = runner.run(copy, "-p", QUESTION, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is damaged: " in done.stderr and done.stderr.count("\n") == 1
    short = tmp_path / "short.exe"
    short.write_bytes(target_bundle.read_bytes()[:-1000])
    short.chmod(0o755)
    done = runner.run(short, "-p", QUESTION, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "copy or download it again" in done.stderr
    assert not (tmp_path / "cache").exists()
