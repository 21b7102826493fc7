"""What --bench found: figures with their spread, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DISTURBED, OTHERS = 0.1, 0.05
"""Runs that differ by more than the first share of their median, or leave others more than the second share of the
CPUs, were not alone on the machine."""


class Figure(NamedTuple):
    """One thing measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        ordered = sorted(self.values)
        half = len(ordered) // 2
        return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2

    @property
    def spread(self) -> float:
        """How far the runs lie apart, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        rounded = [round(value, 4) for value in self.values]
        return {"median": round(self.median, 4), "least": min(rounded), "most": max(rounded), "values": rounded}

    def text(self, digits: int = 3) -> str:
        """For a person, with so many significant digits."""
        if len(self.values) == 1:
            return _short(self.median, digits)
        ends = f"{_short(min(self.values), digits)} … {_short(max(self.values), digits)}"
        return f"{_short(self.median, digits)}  ({ends})"


class Row(NamedTuple):
    """What so many readers at once get: tokens a second of all together, seconds until the first token of each."""

    streams: int
    prompt: Figure
    answer: Figure
    first: Figure


class Result(NamedTuple):
    """Everything that was measured.

    ``path`` is the sentence on the kernel path, ``others`` the share of the CPUs that other programs had meanwhile.
    """

    model: str
    path: str
    prompt_tokens: int
    answer_tokens: int
    rows: tuple[Row, ...]
    others: float = 0.0

    @property
    def runs(self) -> int:
        """How often each was measured."""
        return min(len(row.prompt.values) for row in self.rows)

    @property
    def disturbance(self) -> str:
        """A sentence where something else was at work, else an empty one."""
        spread = max(figure.spread for row in self.rows for figure in (row.prompt, row.answer))
        signs = [f"the runs differ by up to {spread:.0%}"] if spread > DISTURBED else []
        signs += [f"other programs had {self.others:.0%} of the CPUs"] if self.others > OTHERS else []
        if not signs:
            return ""
        text = " and ".join(signs)
        return f"{text[0].upper()}{text[1:]}: run it again when the machine is quiet."

    def to_json(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """For a program; ``facts`` are those of the kernel path."""
        return {
            "model": self.model,
            "kernels": self.path,
            **facts,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "runs": self.runs,
            "disturbed": bool(self.disturbance),
            "streams": [
                {
                    "streams": row.streams,
                    "prompt_tokens_per_second": row.prompt.to_json(),
                    "answer_tokens_per_second": row.answer.to_json(),
                    "seconds_to_first_token": row.first.to_json(),
                }
                for row in self.rows
            ],
        }

    def lines(self) -> Iterator[str]:
        """For a person."""
        runs = "1 run" if self.runs == 1 else f"median (least … most) of {self.runs} runs"
        yield f"{self.model}: {self.prompt_tokens} tokens of prompt, {self.answer_tokens} of answer; {runs}."
        yield self.path
        yield ""
        yield f"{'streams':>7}  {'prompt, tokens/s':<26}{'answer, tokens/s':<26}first token, s"
        for row in self.rows:
            yield f"{row.streams:>7}  {row.prompt.text():<26}{row.answer.text():<26}{row.first.text()}"
        if self.disturbance:
            yield ""
            yield self.disturbance


def _short(value: float, digits: int) -> str:
    """A number with so many significant digits and no exponent."""
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}"
