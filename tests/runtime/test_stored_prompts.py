"""When a stored prompt can be used, and what is said where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from choice_support import BOTH, CPU_ONLY, chosen, machine, measured
from small_bundle import manifest, model
from solofile.runtime import stored_prompts
from solofile.runtime.kernel_path import Known, Wishes
from solofile.runtime.manifest import Manifest
from solofile.runtime.manifest_prompt import Prompt
from solofile.runtime.options import parse
from solofile.runtime.stored_prompts import SYSTEM, Plan, Situation

COMMIT = "0c1e570"


def prompt(path: str = SYSTEM, **changes: Any) -> Prompt:
    usual: dict[str, Any] = {
        "path": path, "model": model("tiny").path, "model_sha256": "a" * 64, "llama_cpp": COMMIT, "tokens": 1000,
        "flash": "auto", "streams": 1, "options": (), "kernel": "haswell", "context_from": 1064, "context_to": None,
    }  # fmt: skip
    return Prompt(**{**usual, **changes})


def bundle(*prompts: Prompt) -> Manifest:
    return manifest(system_prompt="Be kind.", prompts=prompts or (prompt(),))


def situation(words: str = "", **changes: Any) -> Situation:
    usual: dict[str, Any] = {
        "model": model("tiny").path, "model_sha256": "a" * 64, "llama_cpp": COMMIT, "given": parse(words.split()),
        "system_prompt": "Be kind.", "context": 8192, "flash": "auto",
    }  # fmt: skip
    return Situation(**{**usual, **changes})


def why(found: Plan) -> str:
    [(_, reason)] = found.refused
    assert not found.used
    return reason


def test_usual_start_uses_it_twice() -> None:
    found = stored_prompts.plan(bundle(), situation("--temp 0 -t 3 --cache-ram 100"))
    assert [one.path for one in found.used] == [SYSTEM]
    assert found.again
    assert not list(stored_prompts.sentences(found))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_sha256": "b" * 64}, "it is of another model"),
        ({"model": "models/other.gguf"}, "it is of another model"),
        ({"llama_cpp": "fedcba9876"}, "it was made by another llama.cpp (0c1e570)"),
        ({"system_prompt": "Be rude."}, "the system prompt is another one"),
        ({"system_prompt": None}, "the system prompt is another one"),
        ({"flash": "off"}, "flash attention is off, and it was made with -fa auto"),
        ({"context": 512}, "a context of 512 tokens is too short for it"),
    ],
)
def test_another_situation(changes: dict[str, Any], reason: str) -> None:
    assert why(stored_prompts.plan(bundle(), situation(**changes))) == reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-ctk q8_0", "it was made without -ctk q8_0"),
        ("--cache-type-v q4_0", "it was made without -ctv q4_0"),
        ("--lora my.gguf", "it was made without --lora my.gguf"),
        ("--rope-freq-base 50000", "it was made without --rope-freq-base 50000"),
        ("--chat-template chatml", "it was made without --chat-template chatml"),
        ("--no-jinja", "it was made without --no-jinja"),
        ("-np 2", "the slots have caches of their own (-np without -kvu)"),
        ("-no-kvu", "the slots have caches of their own (-np without -kvu)"),
        ("--spec-draft-model d.gguf", "a draft model has to read the prompt as well (--spec-draft-model)"),
        ("--no-cache-prompt", "--no-cache-prompt has every prompt computed anew"),
        ("--embeddings", "with --embeddings there are no answers"),
    ],
)
def test_options_that_decide(words: str, reason: str) -> None:
    assert why(stored_prompts.plan(bundle(), situation(words))) == reason


@pytest.mark.parametrize("words", ["-np 1", "-np 3 -kvu", "-ctk f16", "-c 4096", "-ngl 99", "--threads 7", "-fa on"])
def test_options_that_do_not_matter(words: str) -> None:
    assert stored_prompts.plan(bundle(), situation(words)).used


def test_what_it_was_made_with_must_be_there() -> None:
    made = prompt(options=("-ctk", "q8_0", "--lora", "adapters/a.gguf", "--lora", "adapters/b.gguf"))
    same = "--lora adapters/a.gguf --cache-type-k q8_0 --lora adapters/b.gguf"
    assert stored_prompts.plan(bundle(made), situation(same)).used
    assert why(stored_prompts.plan(bundle(made), situation("--lora adapters/a.gguf -ctk q8_0"))) == (
        "it was made without --lora adapters/a.gguf"
    )
    assert why(stored_prompts.plan(bundle(made), situation())).startswith("it was made with")


def test_long_values_are_compared_by_their_hash() -> None:
    first, second = ((f"--chat-template={letter * 5000}",) for letter in "ab")
    words = stored_prompts.fingerprint(parse(first))
    assert words[0] == "--chat-template"
    assert words[1].startswith("sha256:")
    made = prompt(options=words)
    assert not stored_prompts.refusal(made, situation(given=parse(first)), "Be kind.")
    assert stored_prompts.refusal(made, situation(given=parse(second)), "Be kind.")


def test_streams_of_the_cache() -> None:
    made = prompt(streams=2)
    assert stored_prompts.plan(bundle(made), situation("-np 2")).used
    assert why(stored_prompts.plan(bundle(made), situation("-np 3"))) == "-np is another one"
    assert why(stored_prompts.plan(bundle(made), situation("-np 2", context=2000))) == (
        "a context of 1000 tokens is too short for it"
    )


def test_models_that_read_otherwise_in_a_long_context() -> None:
    made = prompt(context_to=4096)
    assert stored_prompts.plan(bundle(made), situation(context=4096)).used
    assert why(stored_prompts.plan(bundle(made), situation(context=4097))) == (
        "with a context of over 4096 tokens this model reads otherwise"
    )


def test_each_prompt_has_a_slot_of_its_own() -> None:
    prompts = (prompt("prompts/a.kv"), prompt("prompts/b.kv"), prompt())
    found = stored_prompts.plan(bundle(*prompts), situation())
    assert [one.path for one in found.used] == [SYSTEM, "prompts/a.kv", "prompts/b.kv"]
    assert found.again
    found = stored_prompts.plan(bundle(*prompts), situation("-np 2 -kvu"))
    assert found.refused == (("prompts/b.kv", "there are 2 slots (-np)"),)
    assert not found.again
    found = stored_prompts.plan(bundle(*prompts), situation(context=2500))
    assert found.refused == (("prompts/b.kv", "a context of 2500 tokens does not hold it beside the others"),)
    assert "is not used, since a context of 2500" in next(stored_prompts.sentences(found))


def test_prefixes_do_not_depend_on_the_system_prompt() -> None:
    found = stored_prompts.plan(bundle(prompt("prompts/a.kv"), prompt()), situation(system_prompt="Be rude."))
    assert [one.path for one in found.used] == ["prompts/a.kv"]


def test_kernel_choice_prefers_what_it_was_made_with() -> None:
    slower = measured(400, 60, attention={"flash": {"1": 1.0, "64": 9.0}, "plain": {"1": 0.1, "64": 0.2}})
    known = Known(probes={"haswell": slower})
    assert chosen(known=known, offer=CPU_ONLY).path.flash == "off"
    flash = stored_prompts.wanted_flash(bundle(), situation(flash="", context=0))
    choice = chosen(known=known, offer=CPU_ONLY._replace(flash=flash))
    assert choice.path.flash == "auto"
    assert choice.of("flash attention").reason == "the stored prompt was made with it so"
    assert chosen(known=known, offer=CPU_ONLY._replace(flash="auto"), wishes=Wishes(flash="off")).path.flash == "off"


def test_kernel_choice_has_no_preference_without_one() -> None:
    assert not stored_prompts.wanted_flash(bundle(), situation("-ctk q8_0"))
    assert BOTH.flash == ""
    assert chosen(machine()).path.flash == "auto"
