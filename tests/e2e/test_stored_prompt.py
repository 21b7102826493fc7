"""The state of a long system prompt in a bundle: restored at its start, and the answers are those of without it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import QUESTION, Running, serve
from solofile.runtime.container import Bundle
from solofile.runtime.manifest_prompt import Prompt
from stored_text import system_prompt

QUESTIONS = ("\nWhere is the pool, please?", "Ein Zimmer für zwei, bitte.", "Name three colours.", "my key is lost")
PLAIN_QUESTIONS = (QUESTION, "12 + 3 = ?", "What is the name of the largest ocean?")
"""With a likeliest answer: how llama.cpp rounds depends on how many tokens it computes at once and where in its cache
they lie, as ever when a part of a prompt was read before."""

WITHOUT = ["--server", "--no-calibrate", "-sys", "Be brief.", "-np", "1", "--cache-ram", "0"]

TOOLS = [{"type": "function", "function": {"name": "book", "description": "Books a room. " * 40, "parameters": {}}}]
EXAMPLE = "Rooms have numbers from 101 to 499. Write the number of the room and nothing else, as in the examples. " * 3

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Path:
    (folder / "system.txt").write_text(system_prompt())
    turns = (("system", EXAMPLE), ("user", "The second on floor 3"), ("assistant", "302"))
    request = {"messages": [{"role": role, "content": text} for role, text in turns], "tools": TOOLS}
    (folder / "rooms.json").write_text(json.dumps(request))
    (folder / "story.txt").write_text("Once upon a time there was a hotel by the sea. " * 8)
    path = folder / "hotel.toml"
    path.write_text(
        'extends = "smollm2-135m"\nname = "hotel"\nsystem_prompt_file = "system.txt"\nstore_prompt = true\n'
        'prefix = ["rooms.json", "story.txt"]\n'
    )
    return path


@pytest.fixture(scope="module")
def hotel(recipe: Path, pack: Path, solofile: list[str]) -> Path:
    """A bundle with three stored prompts."""
    output = recipe.with_name("hotel.exe")
    subprocess.run([*solofile, "build", str(recipe), "--pack", str(pack), "-o", str(output)], check=True, timeout=600)
    return output


def prompts(bundle: Path) -> dict[str, Prompt]:
    with Bundle.open(bundle) as opened:
        return {Path(one.path).stem: one for one in opened.manifest.prompts}


@pytest.fixture(scope="module")
def with_state(hotel: Path, environment: dict[str, str]) -> Iterator[Running]:
    with serve([hotel, "--server", "--no-calibrate"], environment) as running:
        yield running
    assert "stored prompts are taken as read" in running.errors
    assert "is not used" not in running.errors


@pytest.fixture(scope="module")
def alone(hotel: Path, environment: dict[str, str]) -> Iterator[Running]:
    """One slot, so that nothing else lies in the cache of keys and values: where a token lies there decides how sums
    are rounded."""
    words = ["--server", "--no-calibrate", "-np", "1", "--cache-ram", "0"]
    with serve([hotel, *words], environment) as running:
        yield running


@pytest.fixture(scope="module")
def without(hotel: Path, environment: dict[str, str]) -> Iterator[Running]:
    """The same, told to begin with another system prompt, and with room for one request at a time."""
    with serve([hotel, *WITHOUT], environment) as running:
        yield running
    assert "system.kv is not used, since the system prompt is another one" in running.errors


def ask(running: Running, question: str, tokens: int = 24, **more: Any) -> tuple[str, dict[str, int]]:
    turns = [{"role": "system", "content": system_prompt()}, {"role": "user", "content": question}]
    body = {"messages": turns, "max_tokens": tokens, "temperature": 0, **more}
    answer = running.json("POST", "/v1/chat/completions", body)
    timings: dict[str, int] = answer["timings"]
    return answer["choices"][0]["message"]["content"], timings


def read_beginning(running: Running, tokens: int) -> None:
    """Have a server read the first tokens of a chat with the system prompt."""
    turns = [{"role": "system", "content": system_prompt()}, {"role": "user", "content": QUESTION}]
    rendered = running.json("POST", "/apply-template", {"messages": turns})["prompt"]
    found = running.json("POST", "/tokenize", {"content": rendered, "add_special": True, "parse_special": True})
    running.json("POST", "/completion", {"prompt": found["tokens"][:tokens], "n_predict": 0, "id_slot": 0})


def test_manifest_says_what_it_is(hotel: Path) -> None:
    found = prompts(hotel)
    assert set(found) == {"system", "rooms", "story"}
    assert 1400 < found["system"].tokens < 1600
    assert found["system"].context_from == found["system"].tokens + 64
    with Bundle.open(hotel) as bundle:
        [target] = bundle.manifest.targets.values()
    assert found["system"].kernel in target.kernels


def test_first_request_takes_it(with_state: Running, hotel: Path) -> None:
    stored = prompts(hotel)["system"].tokens
    _, timings = ask(with_state, QUESTION, 1)
    assert timings["cache_n"] == stored
    assert timings["prompt_n"] < 40


def test_answers_are_those_without_it(with_state: Running, without: Running, hotel: Path) -> None:
    stored = prompts(hotel)["system"].tokens
    for question in PLAIN_QUESTIONS:
        answer, timings = ask(with_state, question, 16)
        assert timings["cache_n"] >= stored - 1
        expected, timings = ask(without, question, 16, cache_prompt=False)
        assert timings["cache_n"] == 0
        assert answer == expected


def test_answers_are_those_behind_a_prompt_that_was_read_here(
    alone: Running, hotel: Path, environment: dict[str, str]
) -> None:
    """Word for word, whatever the question: the same numbers at the same places in the same batches. So it is a server
    that has answered nothing before."""
    stored = prompts(hotel)["system"].tokens
    with serve([hotel, *WITHOUT], environment) as fresh:
        read_beginning(fresh, stored)
        for question in QUESTIONS:
            (answer, one), (expected, two) = ask(alone, question), ask(fresh, question)
            assert one["cache_n"] == two["cache_n"] >= stored - 1
            assert answer == expected


def test_state_is_no_other_than_the_one_computed_here(hotel: Path, environment: dict[str, str], folder: Path) -> None:
    """On the same kernel, with another number of threads."""
    kernel, tokens = prompts(hotel)["system"].kernel, prompts(hotel)["system"].tokens
    words = ["--server", "--no-calibrate", "-sys", "Be brief.", "-np", "1", "--kernel", kernel, "-t", "1", "-tb", "1"]
    with serve([hotel, *words, "--slot-save-path", f"{folder}/"], environment) as running:
        read_beginning(running, tokens)
        assert running.json("POST", "/slots/0?action=save", {"filename": "own.kv"})["n_saved"] == tokens
    with Bundle.open(hotel) as bundle:
        assert (folder / "own.kv").read_bytes() == bundle.read("prompts/system.kv")


def test_prefixes_are_taken_too(hotel: Path, environment: dict[str, str], recipe: Path) -> None:
    request = json.loads(recipe.with_name("rooms.json").read_text())
    request["messages"].append({"role": "user", "content": "The first on floor 2"})
    story = recipe.with_name("story.txt").read_text().strip() + " Its owner"
    with serve([hotel, "--server", "--no-calibrate"], environment) as running:
        answer = running.json("POST", "/v1/chat/completions", {**request, "max_tokens": 4})
        assert answer["timings"]["cache_n"] == prompts(hotel)["rooms"].tokens
        answer = running.json("POST", "/completion", {"prompt": story, "n_predict": 4})
        assert answer["timings"]["cache_n"] == prompts(hotel)["story"].tokens


def test_two_at_once_take_it_and_one_after_another_prompt(hotel: Path, environment: dict[str, str]) -> None:
    stored = prompts(hotel)["system"].tokens
    with serve([hotel, "--server", "--no-calibrate"], environment) as running:
        hits: list[int] = []
        threads = [
            threading.Thread(target=lambda: hits.append(ask(running, QUESTION, 60)[1]["cache_n"]))
            for _ in range(2)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert hits == [stored, stored]
    with serve([hotel, "--server", "--no-calibrate"], environment) as running:
        running.json("POST", "/completion", {"prompt": "Something else altogether, please: 1 2 3", "n_predict": 4})
        assert ask(running, QUESTION, 1)[1]["cache_n"] == stored


def test_slots_cannot_be_saved_or_restored_because_of_it(with_state: Running, hotel: Path) -> None:
    for action in ("save", "restore", "erase"):
        status, body = with_state.request("POST", f"/slots/0?action={action}", {"filename": "system.kv"})
        assert status == 501, body
    assert ask(with_state, QUESTION, 1)[1]["cache_n"] >= prompts(hotel)["system"].tokens


def test_one_answer_and_doctor(hotel: Path, run_bundle: Run) -> None:
    done = run_bundle("-p", QUESTION, "-n", "8", "--no-calibrate", "--verbose", bundle=hotel)
    assert done.returncode == 0, done.stderr
    assert "The stored prompt is taken as read" in done.stderr
    quiet = run_bundle("-p", QUESTION, "-n", "8", "--no-calibrate", bundle=hotel)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    report = json.loads(run_bundle("--doctor", "--json", "-ctk", "q8_0", bundle=hotel).stdout)
    reasons = {one["path"]: one["reason"] for one in report["choice"]["prompts"]}
    assert reasons == dict.fromkeys(reasons, "it was made without -ctk q8_0")
    assert "read when it was built" in run_bundle("--doctor", bundle=hotel).stdout


def test_damaged_state_is_computed_instead(hotel: Path, environment: dict[str, str], folder: Path) -> None:
    broken = folder / "broken.exe"
    broken.write_bytes(hotel.read_bytes())
    broken.chmod(0o755)
    with Bundle.open(broken) as bundle:
        offset = bundle.part("prompts/system.kv").offset + 1_000_000
    with broken.open("r+b") as file:
        file.seek(offset)
        file.write(b"damaged")
    with serve([broken, "--server", "--no-calibrate"], environment) as running:
        content, timings = ask(running, QUESTION, 8)
        assert timings["cache_n"] < 100
        assert content
    assert "prompts/system.kv is not used, since it is damaged" in running.errors


def test_same_inputs_give_the_same_bytes(recipe: Path, hotel: Path, pack: Path, solofile: list[str]) -> None:
    output = recipe.with_name("again.exe")
    subprocess.run([*solofile, "build", str(recipe), "--pack", str(pack), "-o", str(output)], check=True, timeout=600)
    assert output.read_bytes() == hotel.read_bytes()


def test_changed_bundles(hotel: Path, pack: Path, solofile: list[str], folder: Path, run_bundle: Run) -> None:
    new = folder / "new.exe"

    def made(*words: str) -> tuple[dict[str, Prompt], str]:
        command = [*solofile, *words, "-o", str(new), "--force"]
        done = subprocess.run(command, check=True, timeout=600, capture_output=True, text=True)
        subprocess.run([*solofile, "verify", str(new)], check=True, timeout=60)
        return prompts(new), done.stderr

    before = prompts(hotel)
    assert made("set", str(hotel), "--args", "--temp 0.3")[0] == before
    assert made("upgrade", str(hotel), "--pack", str(pack))[0] == before
    assert made("set", str(hotel), "--no-stored-prompt")[0] == {}
    found, said = made("set", str(hotel), "--system-prompt", system_prompt(5))
    assert 100 < found["system"].tokens < 400
    assert (found["rooms"], found["story"]) == (before["rooms"], before["story"])
    assert "Stored: prompts/system.kv" in said
    found, said = made("set", str(hotel), "--args", "-ctk q8_0 -ctv q8_0")
    assert set(found) == {"system"}
    assert found["system"].options == ("-ctk", "q8_0", "-ctv", "q8_0")
    assert "prompts/rooms.kv is left out, since it was made without -ctk q8_0" in said
    assert "1 stored" not in run_bundle("-p", QUESTION, "-n", "4", "--no-calibrate", bundle=new).stderr
    assert new.stat().st_size < hotel.stat().st_size
