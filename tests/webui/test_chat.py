"""Chatting."""

from __future__ import annotations

from pages import Tab


def test_a_question_and_its_answer(tab: Tab) -> None:
    tab.send("Hi")
    assert tab.answers() == ["Hello there."]
    assert tab.questions() == ["Hi"]
