"""--bench --compare: each kernel path that could be used, measured in a process of its own, beside the chosen one.

The processes run one after another and all of them twice, so that a slow moment of the machine does not hit one path
alone. What cannot run is a row of the table with its reason.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple, TextIO

from solofile.runtime import options, other_load, own_program
from solofile.runtime.bench import QUICK_WORD
from solofile.runtime.bench_result import OTHERS, Figure
from solofile.runtime.compare_table import Measured, lines, to_json

if TYPE_CHECKING:
    from solofile.runtime.kernel_path import KernelPath

_PASSES = 2
_LIMIT = 900.0
_SLOWER = 10.0
_LEAST_LIMIT = 60.0
"""Seconds for the chosen path; the others get ten times what it took, and a minute at least."""

BUDGET = 900.0
"""Seconds for all of it: on a machine of many cores there are hundreds of paths."""

_OWN = frozenset(
    {"--bench", "--compare", "--json", "--kernel", "--gpu", "-t", "-tb", "--repack", "-dev", "--calibrate",
     "--no-browser", "--host", "--port"}
)  # fmt: skip
"""Options that are the comparison's to give, or mean nothing to it."""

Say = Callable[[str], None]


class Candidate(NamedTuple):
    """One kernel path; ``device`` is that of a GPU, with ``gpu`` the library for it."""

    kernel: str
    threads: int
    threads_batch: int
    repack: bool = True
    gpu: str = ""
    device: str = ""

    @classmethod
    def of(cls, path: KernelPath) -> Candidate:
        """What was chosen, as a candidate."""
        return cls(path.variant, path.threads, path.threads_batch, path.repack, path.backend, path.device)

    def words(self) -> list[str]:
        """The options that force it."""
        gpu = ["--gpu", self.gpu, "-dev", self.device] if self.gpu else ["--gpu", "none"]
        repack = "--repack" if self.repack else "--no-repack"
        threads = ["-t", str(self.threads), "-tb", str(self.threads_batch)]
        return ["--kernel", self.kernel, *threads, repack, *gpu]

    @property
    def title(self) -> str:
        """Its name in the table."""
        threads = str(self.threads) if self.threads == self.threads_batch else f"{self.threads}/{self.threads_batch}"
        weights = "repacked" if self.repack else "as in the file"
        name = f"{self.device} + {self.kernel}" if self.gpu else self.kernel
        return f"{name:<24}{threads:>8}  {weights:<15}"


def candidates(
    chosen: Candidate, variants: Iterable[str], threads: Iterable[int], *, repacks: bool = True
) -> list[Candidate]:
    """Every variant with every number of threads, weights as the choice has them; what tells most comes first.

    That is the choice itself, the same with its weights the other way where it ``repacks`` any, and without its GPU;
    then what differs from it in one thing, then the rest.
    """
    found = [chosen, *([chosen._replace(repack=not chosen.repack)] if repacks else [])]
    found.append(chosen._replace(gpu="", device=""))
    counts = sorted({*threads, chosen.threads}, reverse=True)
    every = [Candidate(variant, count, count, chosen.repack) for variant in variants for count in counts]
    every.sort(key=lambda one: (one.kernel != chosen.kernel) + (one.threads != chosen.threads))
    return list(dict.fromkeys([*found, *every]))


def thread_counts(cores: int, allowed: int) -> list[int]:
    """The numbers of threads worth trying: powers of two, all cores, all CPUs that this process may use."""
    powers = [1 << power for power in range(allowed.bit_length())]
    return sorted({count for count in (*powers, cores, allowed) if 1 <= count <= allowed})


def kept_words(argv: Sequence[str]) -> list[str]:
    """What of a command line every candidate gets too, such as ``-c 4096``."""
    return [word for one in options.parse(argv) if one.option.key not in _OWN for word in one.words()]


def compare(
    every: Sequence[Candidate], rejected: Sequence[tuple[str, str]], words: Sequence[str], out: TextIO,
    *, environ: Mapping[str, str], as_json: bool = False, say: Say = lambda _: None,
    command: Sequence[str] | None = None, passes: int = _PASSES, budget: float = BUDGET,
    features: Set[str] = frozenset(),
) -> list[Measured]:  # fmt: skip
    """Measure ``every`` path, the first being the chosen one, and print the table.

    ``rejected`` are those that cannot run, with their reasons, on a CPU with ``features``; ``words`` the options that
    all get. After ``budget``
    seconds no further measurement begins. Interrupted, it prints what there is.
    """
    start = [*(own_program.command() if command is None else command), *words, "--bench", "--json", "--no-calibrate"]
    trials = [_Trial(one) for one in every]
    watch = other_load.Watch()
    world = {name: value for name, value in environ.items() if name != "SOLOFILE_CRASH"}
    try:
        _measure(trials, start, {**world, "SOLOFILE_BENCH": QUICK_WORD}, say, passes, budget)
    finally:
        found = [trial.result(chosen=trial is trials[0]) for trial in trials if trial.prompt or trial.reason]
        table = lines(found, rejected, features)
        out.write((json.dumps(to_json(found, rejected), indent=2) if as_json else "\n".join(table)) + "\n")
        out.flush()
        others = watch.share()  # our children count as ours once they have ended
        if others > OTHERS:
            say(f"Other programs had {others:.0%} of the CPUs meanwhile: compare again when the machine is quiet.")
    return found


class _Trial:
    """One candidate and what was measured of it so far."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.prompt: list[float] = []
        self.answer: list[float] = []
        self.reason = ""

    def result(self, *, chosen: bool) -> Measured:
        if self.reason:
            return Measured(self.candidate, chosen, reason=self.reason)
        return Measured(self.candidate, chosen, Figure(tuple(self.prompt)), Figure(tuple(self.answer)))


def _measure(
    trials: Sequence[_Trial], start: list[str], environ: Mapping[str, str], say: Say, passes: int, budget: float
) -> None:
    limit, begin, done = _LIMIT, time.monotonic(), 0
    for number in range(passes):
        for index, trial in enumerate(trials):
            if trial.reason:
                continue
            spent = time.monotonic() - begin
            if done and spent > budget:
                trial.reason = "" if trial.prompt else f"was not measured: {budget / 60:.0f} minutes were over"
                continue
            place, every = number * len(trials) + index + 1, passes * len(trials)
            left = min(budget - spent, (every - place + 1) * spent / done) if done else 0.0
            say(f"{place} of {every}{_left(left)}: {' '.join(trial.candidate.words())}")
            _run(trial, [*start, *trial.candidate.words()], environ, limit)
            done += 1
            if done == 1:
                limit = max(_LEAST_LIMIT, _SLOWER * (time.monotonic() - begin))


def _left(seconds: float) -> str:
    if seconds < 1:
        return ""
    return f" ({seconds:.0f} s left)" if seconds < 100 else f" ({seconds / 60:.0f} min left)"


def _run(trial: _Trial, command: list[str], environ: Mapping[str, str], limit: float) -> None:
    """Let one process measure; whatever goes wrong there is the reason of its row."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        try:
            told, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            trial.reason = f"took longer than {limit:.0f} s, ten times as long as the choice"
            return
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        trial.reason = _failure(process.returncode, errors.decode("utf-8", "replace"))
        return
    try:
        one = json.loads(told)["streams"][0]
        prompt, answer = one["prompt_tokens_per_second"]["values"], one["answer_tokens_per_second"]["values"]
    except (ValueError, LookupError, TypeError):
        trial.reason = "ended without figures"
        return
    trial.prompt += prompt
    trial.answer += answer


def _failure(code: int, errors: str) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ended with {signal.Signals(-code).name}"
    last = (errors.strip().splitlines() or [""])[-1]
    return last.rstrip(".") or f"ended with exit code {code}"
