"""Settings, presets, saved prompts, language and colours, About, Quit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pages import Tab
from stand_in import Site

NUMBERS = {
    "temperature": 0.3, "top_p": 0.5, "top_k": 10, "min_p": 0.1, "repeat_penalty": 1.1, "presence_penalty": 0.5,
    "frequency_penalty": -0.5, "max_tokens": 99, "seed": 7,
}  # fmt: skip


def test_every_parameter_is_sent(tab: Tab) -> None:
    tab.page.click("#settings")
    for name, value in NUMBERS.items():
        tab.page.fill(f"#set-{name}", str(value))
        hint = tab.page.locator(f"#set-{name}-hint").inner_text()
        assert len(hint) > 20
    tab.page.fill("#schema", '{"type": "object"}')
    tab.page.keyboard.press("Escape")
    tab.send("Hi")
    asked = tab.site.asked[0]
    assert {name: asked[name] for name in NUMBERS} == NUMBERS
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}},
    }
    tab.page.reload()
    tab.wait_ready()
    tab.send("Again")
    assert tab.site.asked[1]["seed"] == 7


def test_defaults_come_from_the_bundle(site: Site, open_page: Callable[..., Tab]) -> None:
    site.about["defaults"] = {"temperature": 0.42}
    tab = open_page()
    tab.page.click("#settings")
    assert tab.page.get_attribute("#set-temperature", "placeholder") == "0.42"
    assert tab.page.input_value("#set-temperature") == ""


def test_reset_one_and_all(tab: Tab) -> None:
    tab.page.click("#settings")
    tab.page.fill("#set-temperature", "1")
    tab.page.fill("#set-seed", "5")
    tab.page.get_by_role("button", name="Reset: Temperature").click()
    assert (tab.page.input_value("#set-temperature"), tab.page.input_value("#set-seed")) == ("", "5")
    tab.page.click("[data-reset=all]")
    assert tab.page.input_value("#set-seed") == ""
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Undo").click()
    tab.send("Hi")
    assert tab.site.asked[0]["seed"] == 5
    assert "temperature" not in tab.site.asked[0]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("temperature", "5", "This must be from 0 to 2."),
        ("top_k", "1.5", "whole number"),
        ("top_p", "-1", "from 0 to 1"),
    ],
)
def test_wrong_values_are_not_sent(tab: Tab, field: str, value: str, words: str) -> None:
    tab.page.click("#settings")
    tab.page.fill(f"#set-{field}", value)
    assert words in tab.page.locator(f"#set-{field}-problem").inner_text()
    assert tab.page.get_attribute(f"#set-{field}", "aria-invalid") == "true"
    tab.page.keyboard.press("Escape")
    tab.send("Hi")
    assert field not in tab.site.asked[0]


def test_a_wrong_schema_is_not_sent(tab: Tab) -> None:
    tab.page.click("#settings")
    tab.page.fill("#schema", '{"type": ')
    assert "This is not JSON" in tab.page.locator("#schema-problem").inner_text()
    tab.page.fill("#schema", "[1]")
    assert "is a JSON object" in tab.page.locator("#schema-problem").inner_text()
    tab.page.keyboard.press("Escape")
    tab.send("Hi")
    assert "response_format" not in tab.site.asked[0]


def test_presets(tab: Tab) -> None:
    tab.page.click("#settings")
    tab.page.get_by_role("button", name="Precise").click()
    assert tab.page.input_value("#set-temperature") == "0.2"
    tab.page.fill("#set-top_k", "3")
    tab.page.get_by_role("button", name="Save these values…").click()
    tab.page.fill("#preset-name", "Mine")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("button", name="Default", exact=True).click()
    assert tab.page.input_value("#set-top_k") == ""
    tab.page.keyboard.press("Escape")
    tab.page.reload()
    tab.wait_ready()
    tab.page.click("#settings")
    tab.page.get_by_role("button", name="Mine", exact=True).click()
    assert (tab.page.input_value("#set-top_k"), tab.page.input_value("#set-temperature")) == ("3", "0.2")
    tab.page.get_by_role("button", name="Delete the preset Mine").click()
    assert tab.page.get_by_role("button", name="Mine", exact=True).count() == 0


def test_system_prompts(tab: Tab) -> None:
    tab.page.click("#settings")
    assert tab.page.input_value("#chat-system") == "Be brief."
    tab.page.fill("#chat-system", "Be long.")
    tab.page.fill("#new-system", "Be kind.")
    tab.page.keyboard.press("Escape")
    tab.send("Hi")
    assert tab.site.asked[0]["messages"][0]["content"] == "Be long."
    tab.page.click("#new")
    tab.send("Hi")
    assert tab.site.asked[1]["messages"][0]["content"] == "Be kind."
    tab.page.click("#settings")
    tab.page.get_by_role("button", name="Reset: In new chats").click()
    assert tab.page.input_value("#new-system") == "Be brief."


def test_saved_prompts(tab: Tab) -> None:
    tab.type("Translate into French: ")
    tab.page.click("#use-prompt")
    assert tab.page.input_value("#prompt-text") == "Translate into French: "
    tab.page.fill("#prompt-name", "French")
    tab.page.get_by_role("button", name="Save", exact=True).click()
    tab.page.keyboard.press("Escape")
    tab.type("")
    tab.page.reload()
    tab.wait_ready()
    tab.page.click("#prompts")
    tab.page.get_by_role("button", name="Insert").click()
    assert tab.page.input_value("#text") == "Translate into French: "
    tab.page.click("#prompts")
    tab.page.get_by_role("button", name="As system prompt").click()
    tab.send("Hi")
    assert tab.site.asked[0]["messages"][0]["content"] == "Translate into French: "
    tab.page.click("#prompts")
    tab.page.get_by_role("button", name="Edit French").click()
    tab.page.fill("#prompt-name", "Français")
    tab.page.get_by_role("button", name="Save", exact=True).click()
    tab.page.get_by_role("button", name="Delete Français").click()
    assert tab.page.locator(".prompts li").count() == 0
    tab.page.get_by_role("button", name="Undo").dispatch_event("click")
    assert tab.page.locator(".prompts li").count() == 1


def test_german(tab: Tab) -> None:
    tab.page.click("#settings")
    tab.page.select_option("#language", "de")
    tab.page.get_by_role("heading", name="Einstellungen").wait_for()
    tab.page.keyboard.press("Escape")
    assert tab.page.get_attribute("html", "lang") == "de"
    assert tab.page.locator("#new").inner_text() == "Neuer Chat"
    assert tab.page.get_attribute("#text", "placeholder") == "Frag etwas"
    tab.send("Hallo")
    assert tab.last(".stats").inner_text() == "3 Tokens · 40 je Sekunde"
    tab.page.reload()
    tab.wait_ready()
    assert tab.page.locator("#new").inner_text() == "Neuer Chat"


def test_the_language_of_the_browser(open_page: Callable[..., Tab], new_context: Callable[..., object]) -> None:
    assert open_page(in_context=new_context(locale="de-AT")).page.locator("#new").inner_text() == "Neuer Chat"
    assert open_page(in_context=new_context(locale="fr-FR")).page.locator("#new").inner_text() == "New chat"


def test_colours(tab: Tab, new_context: Callable[..., object], open_page: Callable[..., Tab]) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(back)
    tab.page.click("#settings")
    tab.page.select_option("#theme", "dark")
    dark = tab.page.evaluate(back)
    assert dark != light
    tab.page.reload()
    tab.wait_ready()
    assert tab.page.evaluate(back) == dark
    other = open_page(in_context=new_context(color_scheme="dark"))
    assert other.page.evaluate(back) == dark


def test_about(tab: Tab) -> None:
    tab.page.click("#about")
    text = tab.page.locator("dialog").inner_text()
    for words in (
        "Tiny-1B", "Apache-2.0", "1.2 B", "Q4_K_M", "4,096 tokens", "807.7 MB", "0.5.0, 0c1e570",
        "2 cores, 8 GB of memory",
        "haswell on 2 threads", "unchecked: start with --verify", "10 minutes after its last page is closed",
    ):  # fmt: skip
        assert words in text, words
    curl, python = tab.page.locator("dialog pre").all_text_contents()
    assert f"curl {tab.site.url}v1/chat/completions" in curl
    assert f'base_url="{tab.site.url}v1"' in python
    compile(python, "snippet", "exec")
    tab.page.locator("dialog [data-copy]").first.click()
    assert tab.page.evaluate("navigator.clipboard.readText()") == curl


def test_about_with_little_known(site: Site, open_page: Callable[..., Tab]) -> None:
    site.about = {"name": "tiny", "system_prompt": None, "version": "0.1.0"}
    tab = open_page()
    assert tab.page.locator("#quit").is_hidden()
    tab.page.click("#about")
    assert "0.1.0" in tab.page.locator("dialog").inner_text()
    tab.page.keyboard.press("Escape")
    tab.send("Hi")
    assert [one["role"] for one in tab.site.asked[0]["messages"]] == ["user"]


def test_the_snippets_work(tab: Tab) -> None:
    """The curl line as it is, in a shell; the fake engine answers in one piece."""
    import shutil
    import subprocess

    from fake_engine import Script

    if not shutil.which("curl"):
        pytest.skip("needs curl")
    tab.site.answer(Script.chat("Hello from curl"))
    tab.page.click("#about")
    curl = tab.page.locator("dialog pre").first.text_content() or ""
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=20, check=True)
    assert "Hello from curl" in done.stdout


def test_quit(tab: Tab) -> None:
    tab.page.click("#quit")
    tab.page.get_by_role("button", name="Cancel").click()
    assert not tab.site.quitted.is_set()
    tab.page.click("#quit")
    tab.page.get_by_role("dialog").get_by_role("button", name="Quit").click()
    tab.page.get_by_role("heading", name="The program has ended").wait_for()
    assert tab.site.quitted.is_set()
    seen = len(tab.site.seen)
    tab.page.wait_for_timeout(1500)
    assert len(tab.site.seen) == seen, "it goes on asking"
