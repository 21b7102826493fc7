"""Counters, gauges and histograms in Prometheus' text format (version 0.0.4).

prometheus_client would be 36 ms of every start and 650 KB of every bundle for the same lines; its parser reads these in
the tests.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class Metric:
    """A named figure; ``labels`` are the names of what it is told apart by."""

    kind = "untyped"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        """``help_text`` is a sentence for whoever reads the figures."""
        self.name, self.help, self.labels = name, help_text, labels
        self._lock = threading.Lock()

    def lines(self) -> Iterable[str]:
        """The lines of its values."""
        return ()

    def text(self) -> str:
        """All lines."""
        head = f"# HELP {self.name} {_escaped(self.help)}\n# TYPE {self.name} {self.kind}\n"
        return head + "".join(f"{line}\n" for line in self.lines())

    def _line(self, values: Labels, value: float, suffix: str = "", more: str = "") -> str:
        pairs = [f'{name}="{_escaped(text, quoted=True)}"' for name, text in zip(self.labels, values, strict=True)]
        if more:
            pairs.append(more)
        return f"{self.name}{suffix}{'{' + ','.join(pairs) + '}' if pairs else ''} {_number(value)}"


class Counter(Metric):
    """What only grows."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        """Begin at zero; without labels that is shown at once."""
        super().__init__(name, help_text, labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, amount: float = 1, *values: str) -> None:
        """Count ``amount`` for these values of the labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + amount

    def value(self, *values: str) -> float:
        """The count now."""
        return self._values.get(values, 0.0)

    def lines(self) -> Iterable[str]:
        """One line for each combination of labels."""
        with self._lock:
            found = list(self._values.items())
        return [self._line(values, value) for values, value in found]


class Gauge(Metric):
    """What is asked for when somebody looks: a number, or one for each combination of labels."""

    kind = "gauge"

    def __init__(
        self, name: str, help_text: str, read: Callable[[], float | dict[Labels, float]], labels: Labels = ()
    ) -> None:
        """``read`` gives the figures of now."""
        super().__init__(name, help_text, labels)
        self._read = read

    def lines(self) -> Iterable[str]:
        """One line for each combination of labels."""
        found = self._read()
        if not isinstance(found, dict):
            found = {(): found}
        return [self._line(values, value) for values, value in found.items()]


class Histogram(Metric):
    """How often something took how long; ``bounds`` in seconds, ascending."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, bounds: Sequence[float]) -> None:
        """Begin with nothing."""
        super().__init__(name, help_text)
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, *seconds: float) -> None:
        """Count these."""
        with self._lock:
            for value in seconds:
                self._counts[bisect_left(self.bounds, value)] += 1
                self._sum += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def lines(self) -> Iterable[str]:
        """Buckets, sum and count."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
            so_far += count
            found.append(self._line((), so_far, "_bucket", f'le="{_number(bound)}"'))
        return [*found, self._line((), total, "_sum"), self._line((), so_far, "_count")]


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
