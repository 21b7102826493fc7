"""When a program that was started for its page ends by itself."""

from __future__ import annotations

import pytest
from solofile.runtime.presence import FAILED_SECONDS, Presence


class World:
    """A clock, open pages and calls."""

    def __init__(self, seconds: float | None, *, seen: bool = False) -> None:
        self.now, self._pages, self.opened, self.open, self.ever = 0.0, 0, 0, 0, 0
        pages, calls = lambda: (self.pages, self.opened), lambda: (self.open, self.ever)
        self.presence = Presence(seconds, pages, calls, lambda: self.now, seen=seen)

    @property
    def pages(self) -> int:
        """How many are open."""
        return self._pages

    @pages.setter
    def pages(self, count: int) -> None:
        self.opened += max(0, count - self._pages)
        self._pages = count

    def due(self, later: float) -> bool:
        self.now += later
        return self.presence.due


def test_ends_some_time_after_the_last_page() -> None:
    world = World(600)
    world.pages = 2
    assert not world.due(10_000)
    world.pages = 0
    assert not world.due(599)
    assert world.due(1)


def test_a_page_that_comes_back_keeps_it() -> None:
    world = World(600)
    world.pages = 1
    assert not world.due(1)
    world.pages = 0
    assert not world.due(500)
    world.pages = 1
    assert not world.due(50)
    world.pages = 0
    assert not world.due(599)


def test_a_page_between_two_looks_counts() -> None:
    world = World(600)
    world.pages = 1
    world.pages = 0
    assert not world.due(5)
    assert world.due(600)


def test_an_answer_keeps_it_and_so_does_one_that_came_and_went() -> None:
    world = World(600)
    world.pages = 1
    assert not world.due(1)
    world.pages = 0
    world.open, world.ever = 1, 1
    assert not world.due(5000)
    world.open = 0
    assert not world.due(500)
    world.ever = 2  # between two looks
    assert not world.due(500)
    assert world.due(600)


@pytest.mark.parametrize(("seconds", "pages"), [(None, 1), (600, 0)])
def test_never_without_the_wish_or_before_a_page_was_open(seconds: float | None, pages: int) -> None:
    world = World(seconds)
    world.pages = pages
    assert not world.due(1)
    world.pages = 0
    assert not world.due(1e9)


def test_a_page_that_was_open_before_a_change_of_the_model() -> None:
    world = World(600, seen=True)
    assert not world.due(599)
    assert world.due(1)


@pytest.mark.parametrize("seconds", [None, 600, 5])
def test_without_a_model_it_ends_soon_and_without_a_page(seconds: float | None) -> None:
    world = World(seconds)
    world.presence.fail()
    assert not world.due(4)
    assert world.due(FAILED_SECONDS)
    world = World(seconds)
    world.presence.fail()
    world.pages = 1
    assert not world.due(FAILED_SECONDS * 2)
