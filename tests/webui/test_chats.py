"""The list of conversations, and what the browser keeps of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_engine import wait_until
from pages import Tab
from stand_in import Site, talk

OpenPage = Callable[..., Tab]


def some_chats(tab: Tab, *questions: str) -> None:
    for question in questions:
        tab.page.click("#new")
        tab.send(question)


def test_chats_are_kept(tab: Tab) -> None:
    some_chats(tab, "apples", "pears")
    assert tab.chats() == ["pears", "apples"]
    tab.page.reload()
    tab.wait_ready()
    assert tab.chats() == ["pears", "apples"]
    assert (tab.questions(), tab.answers()) == (["pears"], ["Hello there."])
    tab.page.locator("#chats .chat", has_text="apples").click()
    tab.page.locator(".typed", has_text="apples").wait_for()


def test_chats_outlive_the_server(tab: Tab, open_page: OpenPage) -> None:
    some_chats(tab, "apples")
    tab.page.close()
    tab.site.stop()
    tab.site.start()
    again = open_page()
    assert again.chats() == ["apples"]


def test_bundles_do_not_mix(site: Site, open_page: OpenPage) -> None:
    first = open_page()
    first.send("of the first")
    site.about["digest"] = "fedcba9876543210"
    second = open_page()
    assert second.chats() == []
    second.send("of the second")
    site.about["digest"] = "0123456789abcdef"
    assert open_page().chats() == ["of the first"]


def test_search(tab: Tab) -> None:
    tab.site.answer(talk(["They grow on trees."]), talk(["They are yellow."]), talk(["They are blue."]))
    some_chats(tab, "apples", "bananas", "plums")
    tab.page.fill("#search", "ARE they")
    tab.page.locator("#chats .chat", has_text="apples").wait_for(state="detached")
    assert tab.chats() == ["plums", "bananas"]
    tab.page.fill("#search", "yellow banana")
    tab.page.locator("#chats .chat", has_text="plums").wait_for(state="detached")
    assert tab.chats() == ["bananas"]
    tab.page.fill("#search", "nowhere")
    tab.page.get_by_text("No chat has these words.").wait_for()
    tab.page.fill("#search", "")
    tab.page.locator("#chats .chat", has_text="apples").wait_for()
    assert len(tab.chats()) == 3


def test_rename(tab: Tab) -> None:
    some_chats(tab, "apples")
    tab.chat_menu("apples", "Rename")
    tab.page.keyboard.type("Fruit")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#chats .chat", has_text="Fruit").wait_for()
    assert tab.page.locator("#chat-title").inner_text() == "Fruit"
    tab.chat_menu("Fruit", "Rename")
    tab.page.keyboard.type("Nothing")
    tab.page.keyboard.press("Escape")
    assert tab.chats() == ["Fruit"]
    tab.page.reload()
    tab.wait_ready()
    assert tab.chats() == ["Fruit"]


def test_pin(tab: Tab) -> None:
    some_chats(tab, "apples", "pears")
    tab.chat_menu("apples", "Pin")
    tab.page.get_by_text("Pinned", exact=True).wait_for()
    assert tab.chats() == ["apples", "pears"]
    tab.page.reload()
    tab.wait_ready()
    assert tab.chats() == ["apples", "pears"]
    tab.chat_menu("apples", "Unpin")
    tab.page.get_by_text("Pinned", exact=True).wait_for(state="detached")
    assert tab.chats() == ["pears", "apples"]


def test_delete_and_undo(tab: Tab) -> None:
    some_chats(tab, "apples", "pears")
    tab.chat_menu("pears", "Delete")
    tab.page.get_by_text("The chat was deleted.").wait_for()
    assert (tab.chats(), tab.questions()) == (["apples"], [])
    tab.page.get_by_role("button", name="Undo").click()
    tab.page.locator("#chats .chat", has_text="pears").click()
    assert tab.answers() == ["Hello there."]
    tab.chat_menu("pears", "Delete")
    tab.page.get_by_text("The chat was deleted.").wait_for()
    tab.page.reload()
    tab.wait_ready()
    assert tab.chats() == ["apples"]
    assert {one["content"] for one in tab.stored()["messages"]} == {"apples", "Hello there."}


def test_delete_while_it_is_answered(tab: Tab, open_page: OpenPage) -> None:
    tab.site.answer(talk(["piece "] * 400, delay=0.05))
    tab.send("apples", wait=False)
    tab.last(".body").get_by_text("piece").wait_for()
    tab.chat_menu("apples", "Delete")
    tab.page.get_by_text("The chat was deleted.").wait_for()
    assert wait_until(lambda: len(tab.site.engine.cancelled) == 1)
    tab.page.wait_for_timeout(300)
    assert tab.chats() == []
    tab.send("pears", wait=False)
    tab.last(".body").get_by_text("piece").wait_for()
    other = open_page()
    other.chat_menu("pears", "Delete")
    assert wait_until(lambda: tab.chats() == [] and tab.answers() == [])
    assert wait_until(lambda: len(tab.site.engine.cancelled) == 2)
    tab.page.wait_for_timeout(1500)
    assert (tab.stored()["chats"], tab.stored()["messages"]) == ([], [])


def saved(tab: Tab, act: Callable[[], None]) -> Any:
    with tab.page.expect_download() as waiting:
        act()
    return waiting.value


def test_export_and_import_as_json(
    tab: Tab, open_page: OpenPage, new_context: Callable[..., Any], tmp_path: Path
) -> None:
    tab.site.answer(talk(["first"], reasoning=["hm"]), talk(["second"]))
    tab.send("Hi")
    tab.last("footer").get_by_role("button", name="Answer again").click()
    tab.last(".body").get_by_text("second").wait_for()
    tab.wait_answer()
    tab.page.click("#files-menu")
    file = saved(tab, lambda: tab.page.get_by_role("menuitem", name="Save all chats as a file").click())
    assert file.suggested_filename.startswith("tiny ") and file.suggested_filename.endswith(".json")
    path = tmp_path / "chats.json"
    file.save_as(path)
    value = json.loads(path.read_text("utf-8"))
    assert (value["format"], len(value["chats"]), len(value["chats"][0]["messages"])) == ("solofile-chats", 1, 3)
    other = open_page(in_context=new_context())
    assert other.chats() == []
    import_file(other, path)
    other.page.get_by_text("1 chat was imported.").wait_for()
    assert (other.questions(), other.answers()) == (["Hi"], ["second"])
    other.last().get_by_role("button", name="Previous version").click()
    assert other.answers() == ["first"]
    assert other.last(".thoughts").text_content() == "hm"
    import_file(other, path)  # again: a copy, not a mixture
    other.page.locator("#chats .chat").nth(1).wait_for()


def import_file(tab: Tab, path: Path) -> None:
    tab.page.click("#files-menu")
    with tab.page.expect_file_chooser() as chooser:
        tab.page.get_by_role("menuitem", name="Import chats").click()
    chooser.value.set_files(path)


def test_export_and_import_as_markdown(tab: Tab, tmp_path: Path) -> None:
    tricky = "# Head\n\n<!-- solofile:user -->\n\n```\ncode\n```"
    tab.site.answer(talk([tricky]))
    tab.send("Write *markdown*\nin two lines")
    file = saved(tab, lambda: tab.chat_menu("Write *markdown*", "Save as Markdown"))
    path = tmp_path / "chat.md"
    file.save_as(path)
    assert "**You**\n\nWrite *markdown*\nin two lines" in path.read_text("utf-8")
    tab.chat_menu("Write *markdown*", "Delete")
    import_file(tab, path)
    tab.page.get_by_text("1 chat was imported.").wait_for()
    stored = {one["role"]: one["content"] for one in tab.stored()["messages"]}
    assert stored == {"user": "Write *markdown*\nin two lines", "assistant": tricky}
    assert tab.page.locator("#chat-title").inner_text() == "Write *markdown*"


def test_hostile_imports(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    for text in ("{", "{}", '{"format": "solofile-chats", "chats": 7}', "no chat in here", "\x00\xff"):
        path.write_text(text, "utf-8")
        import_file(tab, path)
        tab.page.get_by_text("bad.json holds no chats").last.wait_for()
    picture = {"kind": "image", "data": "javascript:1", "name": 3}
    messages = [
        {"id": "a", "parent": "a", "role": "system", "content": "x"},
        {"id": "b", "parent": "nowhere", "role": "user", "content": {"no": "text"}, "files": [picture]},
        {"id": "c", "parent": "b", "role": "assistant", "content": "<img src=x onerror=alert(1)>", "stats": "none"},
        7,
        None,
    ]
    evil = {"id": {"x": 1}, "title": ["t"], "pinned": "yes", "updated": -1, "system": 4, "chosen": {"": 5}}
    evil["messages"] = messages
    path.write_text(json.dumps({"format": "solofile-chats", "chats": [evil, None]}), "utf-8")
    import_file(tab, path)
    tab.page.get_by_text("1 chat was imported.").wait_for()
    tab.page.locator("#chats .chat").last.click()
    assert tab.page.locator("#log img").count() == 0


def test_two_tabs(tab: Tab, open_page: OpenPage) -> None:
    other = open_page()
    tab.site.answer(talk(["piece "] * 30, delay=0.06), talk(["to the other"]))
    tab.send("shared", wait=False)
    other.page.locator("#chats .chat", has_text="shared").click()
    other.last(".state").get_by_text("Being written in another tab.").wait_for()
    tab.wait_answer()
    other.last(".state").get_by_text("Being written in another tab.").wait_for(state="detached")
    assert other.answers() == tab.answers()
    other.send("from the other tab")
    assert wait_until(lambda: tab.questions() == ["shared", "from the other tab"])
    assert wait_until(lambda: tab.answers()[-1] == "to the other")
    tab.chat_menu("shared", "Delete")
    assert wait_until(lambda: other.chats() == [] and other.questions() == [])


def test_two_tabs_write_into_one_chat(tab: Tab, open_page: OpenPage) -> None:
    tab.send("start")
    other = open_page()
    other.page.locator("#chats .chat", has_text="start").click()
    tab.site.answer(talk(["left "] * 10, delay=0.05), talk(["right "] * 10, delay=0.05))
    tab.send("one", wait=False)
    other.send("two", wait=False)
    for one in (tab, other):
        one.wait_answer()
        one.page.wait_for_timeout(200)
    questions = {message["content"] for message in tab.stored()["messages"] if message["role"] == "user"}
    answers = {message["content"] for message in tab.stored()["messages"] if message["role"] == "assistant"}
    assert questions == {"start", "one", "two"}
    assert answers == {"Hello there.", "left " * 10, "right " * 10}
