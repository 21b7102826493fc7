"""The demo's model in a zipapp, in each Python that is here, and in the stand-in for a Cosmopolitan Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cosmo_python import write_stand_in
from damaging import flip
from pythons import NEW
from running import QUESTION, mapped_regions, serve
from solofile.builder.pack import find_or_build
from solofile.runtime.container import Bundle
from solofile.runtime.hardware import target as host_target

pytestmark = pytest.mark.e2e

VERSIONS = [f"{major}.{minor}" for major, minor in NEW]


@pytest.fixture(scope="module")
def small_pack(native_libraries: Path) -> Path:
    """The pack of this machine's target with two kernels."""
    assert native_libraries.is_dir()
    with ExitStack() as stack:
        return stack.enter_context(find_or_build(kernels="x64,haswell" if "x86" in host_target() else "host")).path


@pytest.fixture(scope="module")
def pyz(small_pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(solofile, tmp_path_factory.mktemp("pyz") / "smollm2.pyz", small_pack, "--format", "pyz")


@pytest.fixture(scope="module")
def ape(small_pack: Path, solofile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ape")
    python = write_stand_in(folder / "python")
    return build(solofile, folder / "smollm2.exe", small_pack, "--format", "ape", "--cosmo-python", str(python))


@pytest.fixture(scope="module", params=["pyz", "ape"])
def started(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The command that starts a bundle of each form."""
    bundle: Path = request.getfixturevalue(request.param)
    yield [sys.executable if request.param == "pyz" else "sh", str(bundle)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of these tests."""
    return tmp_path_factory.mktemp("pyz cache") / "solofile"


def build(solofile: list[str], output: Path, pack: Path, *words: str) -> Path:
    command = [*solofile, "build", "smollm2-135m.toml", "--pack", str(pack), "-o", str(output), *words]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    return output


def run(command: list[str], *words: str, cache: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    given = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    world = {**os.environ, "SOLOFILE_CACHE": str(cache)}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*command, *words], env=world, capture_output=True, text=True, timeout=180, check=False, **given
    )


@pytest.mark.parametrize("python", NEW.values(), ids=VERSIONS)
def test_every_python_knows_the_capital_of_france(python: str, pyz: Path, cache: Path) -> None:
    done = run([python, str(pyz)], "-p", QUESTION, cache=cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Paris" in done.stdout


@pytest.mark.parametrize("python", NEW.values(), ids=VERSIONS)
def test_every_python_serves(python: str, pyz: Path, cache: Path) -> None:
    """The HTTP app, whose packages are what a Python's version could matter to."""
    openai = pytest.importorskip("openai")
    world = {**os.environ, "SOLOFILE_CACHE": str(cache)}
    system = {"role": "system", "content": "You are a helpful assistant."}
    messages = [system, {"role": "user", "content": QUESTION}]
    with serve([python, pyz, "--server"], world) as running:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", timeout=120) as client:
            answer = client.chat.completions.create(model="any", messages=messages, temperature=0)
            assert "Paris" in answer.choices[0].message.content
        status, page = running.request("GET", "/")
        assert status == 200 and b"<html" in page
    assert "Traceback" not in running.errors


def test_both_forms_answer_and_tell_of_themselves(started: list[str], cache: Path, tmp_path: Path) -> None:
    assert "Paris" in run(started, "-p", "-", text=QUESTION, cache=cache).stdout
    assert "Paris" in run(started, "--chat", text=f"{QUESTION}\n", cache=cache).stdout
    report = json.loads(run(started, "--doctor", "--json", cache=cache).stdout)
    assert report["hardware"]["target"] == host_target()
    assert report["choice"]["path"]["variant"]
    assert "llama.cpp" in run(started, "--version", cache=cache).stdout
    assert "MIT License" in run(started, "--licenses", cache=cache).stdout
    assert " is whole: " in run(started, "--verify", cache=cache).stdout
    done = run(started, "--extract", str(tmp_path / "parts"), cache=cache)
    assert done.returncode == 0, done.stderr
    assert next((tmp_path / "parts").glob("models/*.gguf")).stat().st_size == 98_362_432
    assert run(started, "--no-such-option", cache=cache).returncode == 2


def test_it_starts_by_its_name(pyz: Path, cache: Path) -> None:
    if not shutil.which("python3") or sys.platform == "win32":
        pytest.skip("no python3 is on the path")
    assert "Paris" in run([str(pyz)], "-p", QUESTION, cache=cache).stdout


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system does not tell what is mapped")
def test_the_weights_are_mapped_in_place(started: list[str], cache: Path) -> None:
    bundle = Path(started[1])
    with Bundle.open(bundle) as opened:
        weights = next(part for part in opened.parts.values() if part.path.endswith(".gguf"))
    command: list[str | Path] = [*started, "--server", "--no-repack"]
    with serve(command, {**os.environ, "SOLOFILE_CACHE": str(cache)}) as running:
        regions = mapped_regions(running.model_pid(), bundle)
    assert regions, "nothing of the file is mapped"
    assert sum(one["size"] for one in regions) >= 0.9 * weights.size
    assert all(weights.offset - 65_536 <= one["offset"] < weights.offset + weights.size for one in regions)
    assert sum(one["Anonymous"] for one in regions) == 0, "the weights were copied into the process"
    assert not list(cache.rglob("*.gguf")), "the weights were copied into the cache"


def test_a_second_start_unpacks_nothing(started: list[str], tmp_path: Path) -> None:
    cache = tmp_path / "Zwischenspeicher für Übungen 模型"
    places = []
    for _ in range(2):
        done = run(started, "-p", QUESTION, "-n", "8", cache=cache)
        assert done.returncode == 0, done.stderr
        files = (path for name in ("packs", "kernels") for path in (cache / name).rglob("*"))
        places.append({(str(path), path.stat().st_ino) for path in files if path.is_file() and path.suffix != ".lock"})
    assert places[0] == places[1]
    assert len(places[0]) > 5
    cleared = run(started, "--cache-clear", cache=cache)
    assert cleared.returncode == 0 and not list((cache / "kernels").glob("*/*"))


def test_a_damaged_file_is_refused(started: list[str], tmp_path: Path) -> None:
    starter, name = started
    with Bundle.open(name) as opened:
        place = opened.members["solofile.json"].data_offset + 100
        size = opened.file_size
    copy = tmp_path / Path(name).name
    shutil.copy2(name, copy)
    flip(copy, place)
    done = run([starter, str(copy)], "-p", QUESTION, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is damaged: " in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "cache").exists()
    shutil.copy2(name, copy)
    os.truncate(copy, size - 1000)
    assert run([starter, str(copy)], "-p", QUESTION, cache=tmp_path / "cache").returncode != 0
    assert not (tmp_path / "cache").exists()


def test_a_prompt_is_stored_and_changed(small_pack: Path, cache: Path, solofile: list[str], tmp_path: Path) -> None:
    """The runtime in the bundle reads the new one; that of a zipapp runs in the Python that changes it."""
    bundle, text = tmp_path / "stored.pyz", tmp_path / "prompt.txt"
    text.write_text("You answer in one short sentence, about geography and nothing else. " * 12)
    system = ["--system-prompt", f"@{text}"]
    build(solofile, bundle, small_pack, "--format", "pyz", *system)
    with Bundle.open(bundle) as opened:
        (before,) = opened.manifest.prompts
    text.write_text("You answer briefly. Geography is what you know well. " * 12)
    subprocess.run([*solofile, "set", str(bundle), "-o", str(bundle), *system], check=True, timeout=300)
    with Bundle.open(bundle) as opened:
        (after,) = opened.manifest.prompts
    assert after.tokens != before.tokens and after.kernel == before.kernel
    done = run([sys.executable, str(bundle)], "--verify", cache=cache)
    assert " is whole: " in done.stdout, done.stderr
    with serve([sys.executable, bundle, "--server"], {**os.environ, "SOLOFILE_CACHE": str(cache)}) as running:
        messages = [{"role": "system", "content": text.read_text().strip()}, {"role": "user", "content": QUESTION}]
        body = {"messages": messages, "temperature": 0, "max_tokens": 8}
        answer = running.json("POST", "/v1/chat/completions", body)
    assert answer["timings"]["cache_n"] >= after.tokens - 1, "the stored prompt was computed"


def test_what_is_installed_for_the_python_does_not_matter(pyz: Path, cache: Path, tmp_path: Path) -> None:
    """Neither packages of the same name nor the variables that would show them."""
    for name in ("flask", "llama_cpp", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    world = {**os.environ, "SOLOFILE_CACHE": str(cache), "PYTHONPATH": str(tmp_path)}
    with serve([sys.executable, pyz, "--server"], world, cwd=tmp_path) as running:
        assert running.request("GET", "/health")[0] == 200
