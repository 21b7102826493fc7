"""What --bench --compare found: a table for people, the same for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from solofile.runtime import doctor_unused, text_columns
from solofile.runtime.bench_result import Figure

if TYPE_CHECKING:
    from solofile.runtime.compare import Candidate


class Measured(NamedTuple):
    """What came of one: its speeds in tokens a second, or the reason why there are none."""

    candidate: Candidate
    chosen: bool
    prompt: Figure | None = None
    answer: Figure | None = None
    reason: str = ""


def to_json(found: Sequence[Measured], rejected: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The table for a program."""
    rows = [
        {
            **one.candidate._asdict(),
            "chosen": one.chosen,
            "prompt_tokens_per_second": one.prompt.to_json() if one.prompt else None,
            "answer_tokens_per_second": one.answer.to_json() if one.answer else None,
            "reason": one.reason,
        }
        for one in found
    ]
    return {"paths": rows, "cannot_run": [{"name": name, "reason": reason} for name, reason in rejected]}


def lines(
    found: Sequence[Measured], rejected: Sequence[tuple[str, str]], features: Set[str] = frozenset()
) -> Iterator[str]:
    """The table for a person, the fastest answers first; ``features`` are those of the CPU."""
    yield f"   {'kernels':<24}{'threads':>8}  {'weights':<15}{'prompt, tokens/s':<26}answer, tokens/s"
    for one in sorted(found, key=lambda one: -(one.answer.median if one.answer else 0.0)):
        mark = "-> " if one.chosen else "   "
        figures = f"{one.prompt.text():<26}{one.answer.text()}" if one.prompt and one.answer else one.reason
        yield f"{mark}{one.candidate.title}{figures}"
    yield ""
    yield from _verdict(found)
    if rejected:
        losers = [{"value": name, "reason": reason} for name, reason in rejected]
        rows = doctor_unused.kernel_rows({"losers": losers}, sorted(features))
        yield from text_columns.block("Not measured", text_columns.columns(rows))


def _verdict(found: Sequence[Measured]) -> Iterator[str]:
    chosen = next((one for one in found if one.chosen), None)
    if chosen is None or chosen.prompt is None or chosen.answer is None:
        return
    prompt = chosen.prompt.median / max(one.prompt.median for one in found if one.prompt)
    answer = chosen.answer.median / max(one.answer.median for one in found if one.answer)
    yield (
        f"The choice (->) has {prompt:.0%} of the best prompt speed and {answer:.0%} of the best answer speed; "
        "medians (least … most)."
    )
