"""The mode --bench: how fast prompts are read and answers written here, by one reader and by several at once.

It asks the engine as HTTP would, with prompts of a fixed number of tokens that no cache holds, and counts what comes
back by the clock. Each figure is the median of several runs, shown with the least and the most of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from solofile.runtime import other_load
from solofile.runtime.bench_result import Figure, Result, Row
from solofile.runtime.conversation import POLL, events, refusal, wait_ready
from solofile.runtime.engine_api import Engine, Request
from solofile.runtime.errors import EngineError, InputError, SolofileError

if TYPE_CHECKING:
    from solofile.runtime.console import Meter

PROMPT_TOKENS, ANSWER_TOKENS = 256, 64
STREAMS = (1, 4)
RUNS = 5
PATIENCE = 120.0
"""Seconds after which no further run begins; a slow machine gets fewer of them."""

WHOLE = 1000
"""What the meter counts to."""

_WARM_UP = 8
_TEXT = (
    "The harbour lay still under a thin layer of fog, and the first boats of the morning were no more than a sound of "
    "engines somewhere behind it. On the pier a woman counted crates, wrote the number 1,284 into a book, crossed it "
    "out and counted again. Nobody had told her why the shipment from the north was three days late, or why the price "
    "of salt had doubled since the spring; but she knew that a ledger which does not add up is worse than bad news. "
    "When the fog lifted she saw two ships in place of one, and began a new page. "
)

Say = Callable[[str], None]


class Plan(NamedTuple):
    """What is measured: tokens of a prompt and of an answer, numbers of readers at once, runs, and for how long."""

    prompt: int = PROMPT_TOKENS
    answer: int = ANSWER_TOKENS
    streams: tuple[int, ...] = STREAMS
    runs: int = RUNS
    patience: float = PATIENCE


QUICK_WORD = "quick"
"""What SOLOFILE_BENCH is in the processes that --compare starts."""


def plan_of(environ: Mapping[str, str]) -> Plan:
    """The plan for this process: a short one where it is one of many that are compared."""
    return Plan(streams=(1,), runs=2) if environ.get("SOLOFILE_BENCH") == QUICK_WORD else Plan()


def run(
    engine: Engine, sentence: str, out: TextIO, *,
    as_json: bool = False, plan: Plan | None = None, facts: Mapping[str, Any] | None = None, say: Say = lambda _: None,
    meter: Meter | None = None,
) -> Result:  # fmt: skip
    """Wait for the model, measure and print. ``sentence`` names the kernel path, ``facts`` the same for programs.

    ``meter`` shows how many thousandths are done.

    Raises InputError for a model that writes no answers, EngineError when it fails.
    """
    wait_ready(engine)
    try:
        result = measure(engine, sentence, plan or Plan(), say, meter)
    finally:
        if meter is not None:
            meter.end()
    if as_json:
        out.write(json.dumps(result.to_json(facts or {}), indent=2, ensure_ascii=False) + "\n")
    else:
        out.write("\n".join(result.lines()) + "\n")
    out.flush()
    return result


def measure(engine: Engine, sentence: str, plan: Plan, say: Say, meter: Meter | None = None) -> Result:
    """Run everything in turn, so that a slow moment of the machine meets all of it."""
    props = _ask(engine, Request("GET", "/props"))
    slots, context = int(props["total_slots"]), int(props["default_generation_settings"]["n_ctx"])
    streams = tuple(count for count in plan.streams if count <= slots) or (1,)
    prompt, answer = within(context, max(streams), plan.prompt, plan.answer)
    text = tokens(engine, 2 * prompt)
    one_run(engine, text, 1, min(prompt, _WARM_UP), min(answer, _WARM_UP))
    found: dict[int, list[tuple[float, float, list[float]]]] = {count: [] for count in streams}
    begin, watch = time.monotonic(), other_load.Watch()
    for number in range(plan.runs):
        if number and time.monotonic() - begin > plan.patience:
            say(f"It is slow here, so {number} of {plan.runs} runs must do.")
            break
        for place, count in enumerate(streams):
            if meter is not None:
                meter((number * len(streams) + place) * WHOLE // (plan.runs * len(streams)))
            found[count].append(one_run(engine, text[number:], count, prompt, answer))
    rows = tuple(_row(count, runs) for count, runs in found.items())
    return Result(str(props.get("model_alias", "")), sentence, prompt, answer, rows, watch.share())


def within(context: int, streams: int, prompt: int, answer: int) -> tuple[int, int]:
    """The tokens of prompt and answer that ``streams`` readers can have in a context that they may share."""
    each = context // streams - 1
    if prompt + answer <= each:
        return prompt, answer
    if each < 2 * _WARM_UP:
        raise InputError(f"A context of {context} tokens is too short for --bench: give -c 2048.")
    return each - max(_WARM_UP, each // 5), max(_WARM_UP, each // 5)


def tokens(engine: Engine, count: int) -> list[int]:
    """So many tokens of a plain text."""
    body = json.dumps({"content": _TEXT, "add_special": False}).encode()
    once = _ask(engine, Request("POST", "/tokenize", headers=_JSON, body=body))["tokens"]
    if not once:
        raise EngineError("The model makes no tokens of a text, so there is nothing to measure.")
    return [int(token) for token in (once * (count // len(once) + 1))[:count]]


def one_run(
    engine: Engine, text: Sequence[int], streams: int, prompt: int, answer: int
) -> tuple[float, float, list[float]]:
    """Let ``streams`` readers ask at once; return tokens a second of prompt and answer, seconds to the first tokens."""
    readers = [_Reader(engine, text[number : number + prompt], answer) for number in range(streams)]
    begin = time.perf_counter()
    try:
        for reader in readers:
            reader.start()
        for reader in readers:
            while reader.is_alive():  # a bare join would not hear Ctrl-C
                reader.join(POLL)
    except BaseException:
        for reader in readers:
            reader.cancel()
        raise
    for reader in readers:
        if reader.error is not None:
            raise reader.error
    return speeds(begin, prompt, [reader.marks for reader in readers])


def speeds(begin: float, prompt: int, marks: Sequence[Sequence[tuple[float, int]]]) -> tuple[float, float, list[float]]:
    """The figures of one run, from when each reader had how many tokens.

    Answers are counted from the moment when all readers write, until the last has ended.
    """
    firsts = [times[0][0] for times in marks]
    all_write, end = max(firsts), max(times[-1][0] for times in marks)
    before = sum(max(count for when, count in times if when <= all_write) for times in marks)
    made = sum(times[-1][1] for times in marks) - before
    answered = made / (end - all_write) if end > all_write else 0.0
    return prompt * len(marks) / (all_write - begin), answered, [first - begin for first in firsts]


class _Reader(threading.Thread):
    """Reads one answer; notes when it had how many tokens."""

    def __init__(self, engine: Engine, prompt: Sequence[int], answer: int) -> None:
        super().__init__(name="solofile-bench", daemon=True)
        body = {
            "prompt": list(prompt), "n_predict": answer, "ignore_eos": True, "temperature": 0, "cache_prompt": False,
            "stream": True,
        }  # fmt: skip
        self._call = engine.call(Request("POST", "/completion", headers=_JSON, body=json.dumps(body).encode()))
        self.marks: list[tuple[float, int]] = []
        self.error: SolofileError | None = None

    def cancel(self) -> None:
        """End the answer early."""
        self._call.cancel()

    def run(self) -> None:
        """Read to the end."""
        try:
            response = self._call.run()
            if response.status != 200:
                raise refusal(b"".join(response), response.status)
            for payload in events(response):
                now = time.perf_counter()
                event = json.loads(payload)
                if "tokens_predicted" not in event:
                    raise refusal(payload, 500)
                self.marks.append((now, int(event["tokens_predicted"])))
            if not self.marks:
                raise EngineError("An answer broke off before its first token: --verbose shows llama.cpp's log.")
        except SolofileError as error:
            self.error = error
        except Exception as error:
            self.error = EngineError(f"An answer broke off ({type(error).__name__}: {error}).")


_JSON = {"Content-Type": "application/json"}


def _ask(engine: Engine, request: Request) -> Any:
    response = engine.call(request).run()
    body = b"".join(response)
    if response.status != 200:
        raise refusal(body, response.status)
    return json.loads(body)


def _row(streams: int, runs: Sequence[tuple[float, float, list[float]]]) -> Row:
    firsts = tuple(Figure(tuple(first)).median for _, _, first in runs)
    return Row(streams, Figure(tuple(one[0] for one in runs)), Figure(tuple(one[1] for one in runs)), Figure(firsts))
