"""Our NamedTuple does what Python's does."""

from __future__ import annotations

import pickle
import typing
from typing import Any

import pytest
from solofile.runtime import record


class Theirs(typing.NamedTuple):
    name: str
    size: int = 3
    parts: tuple[str, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.size


class Ours(record.NamedTuple):
    name: str
    size: int = 3
    parts: tuple[str, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.size


BOTH = pytest.mark.parametrize("kind", [Theirs, Ours])


@BOTH
def test_making(kind: Any) -> None:
    assert kind("a") == kind(name="a") == kind("a", 3, parts=()) == ("a", 3, ())
    assert kind(parts=("x",), name="b", size=1) == ("b", 1, ("x",))
    assert kind._make(["a", 5, ()]).double == 10


@BOTH
@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("a", 1, (), 4), {}), (("a",), {"name": "b"}), (("a",), {"sise": 1}), (("a", 1, ()), {"size": 2})],
)
def test_what_does_not_fit(kind: Any, values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        kind(*values, **named)


@BOTH
def test_using(kind: Any) -> None:
    one = kind("a", 1)
    assert (one.name, one.size, one.double, one._asdict()) == ("a", 1, 2, {"name": "a", "size": 1, "parts": ()})
    assert one._replace(size=7) == kind("a", 7)
    assert repr(one) == f"{kind.__name__}(name='a', size=1, parts=())"
    assert isinstance(one, tuple) and hash(one) == hash(("a", 1, ()))
    assert pickle.loads(pickle.dumps(one)) == one and type(pickle.loads(pickle.dumps(one))) is kind
    with pytest.raises(AttributeError):
        one.size = 4
    with pytest.raises(AttributeError):
        one.other = 4
    with pytest.raises((TypeError, ValueError)):
        one._replace(sise=4)
    match one:
        case kind(name, size, _):
            assert (name, size) == ("a", 1)


def test_defaults_come_last() -> None:
    with pytest.raises(TypeError):

        class Wrong(record.NamedTuple):
            size: int = 3
            name: str
