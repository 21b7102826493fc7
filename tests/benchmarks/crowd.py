"""Many streaming clients at once, for minutes, beside llama-server under the same load.

    python tests/benchmarks/crowd.py --bundle smollm2.exe --model smollm2.gguf --reference …/llama-server

Each client asks for one streamed answer after the other, and waits as long as a 429 says. Both servers run; the load
goes to one and the other in turns of --turn seconds, --seconds of it to each. Shown: tokens a second that clients got
(and the ratio, turn by turn), answers, 429s, what was cut or failed, and the bundle's memory that is no part of a file,
at the end of each of its turns; it must stay within 5 % of that after the first minute. Exit code 1 where a bound of
these is not kept. --idle connections are held beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import Sample, Server, arguments, ratios, running

BODY = {"prompt": "Tell me a story about a lighthouse.", "temperature": 0, "repeat_penalty": 1.0, "dry_multiplier": 0,
        "ignore_eos": True, "stream": True}  # fmt: skip


@dataclass
class Turn:
    """What clients saw."""

    tokens: int = 0
    answers: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


async def ask(port: int, body: bytes, turn: Turn, tokens: int) -> float:
    """One answer; returns the seconds to wait before the next one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = "POST /completion HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status == 429:
            turn.refused += 1
            return float(re.search(rb"(?i)retry-after: (\d+)", answer)[1])  # type: ignore[index]
        if status != 200:
            turn.wrong.append(f"status {status}")
            return 1.0
        pieces, last = 0, b""
        while line := await reader.readline():
            if line.startswith(b"data: {"):
                pieces, last = pieces + 1, line
                turn.tokens += 1
        if b'"stop":true' not in last or pieces < tokens:
            turn.wrong.append(f"cut after {pieces} pieces")
        turn.answers += 1
    finally:
        writer.close()
    return 0.0


async def client(number: int, port: int, tokens: int, turn: Turn, until: float) -> None:
    """Asks until the time is over; an answer that has begun is read to its end."""
    body = json.dumps({**BODY, "prompt": f"{BODY['prompt']} ({number})", "n_predict": tokens}).encode()
    while time.monotonic() < until:
        try:
            pause = await ask(port, body, turn, tokens)
        except (OSError, asyncio.IncompleteReadError) as error:
            turn.wrong.append(type(error).__name__)
            pause = 1.0
        await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))


async def crowd(port: int, clients: int, tokens: int, seconds: float) -> tuple[Turn, float]:
    """The load of one turn, and the tokens a second over all of it."""
    turn, begun = Turn(), time.monotonic()
    await asyncio.gather(*(client(number, port, tokens, turn, begun + seconds) for number in range(clients)))
    return turn, turn.tokens / (time.monotonic() - begun)


def anonymous(pid: int) -> int:
    """Bytes of a process, its children's with it, that are no part of a file."""
    total = 0
    for task in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{task}/status").read_text())
        total += int(found[1]) * 1024 if found else 0
    return total


def measure(ours: Server, theirs: Server | None, options: argparse.Namespace) -> dict[str, Any]:
    """The turns of both."""
    speeds: dict[str, list[float]] = {"bundle": [], "llama-server": []}
    turns: dict[str, list[Turn]] = {"bundle": [], "llama-server": []}
    memory: list[tuple[float, int]] = []
    load = 0.0
    while load < options.seconds:
        for name, server in (("bundle", ours), ("llama-server", theirs)):
            if server is None:
                continue
            turn, speed = asyncio.run(crowd(server.port, options.clients, options.tokens, options.turn))
            speeds[name].append(speed)
            turns[name].append(turn)
        load += options.turn
        memory.append((load, anonymous(ours.process.pid)))
        print(f"{load:6.0f} s: {speeds['bundle'][-1]:7.1f} tokens/s, {memory[-1][1] / 1e6:.1f} MB", flush=True)
    return {"speeds": speeds, "turns": turns, "memory": memory}


def judge(found: dict[str, Any], options: argparse.Namespace) -> bool:
    """Print what was found; whether all bounds are kept."""
    good = True
    for name, turns in found["turns"].items():
        if not turns:
            continue
        wrong = [what for turn in turns for what in turn.wrong]
        answers, refused = (sum(getattr(turn, what) for turn in turns) for what in ("answers", "refused"))
        print(f"{name:13} {Sample(tuple(found['speeds'][name]))} tokens/s, {answers} answers, {refused} × 429, "
              f"{len(wrong)} wrong {sorted(set(wrong))}")  # fmt: skip
        good &= name != "bundle" or not wrong
    if found["speeds"]["llama-server"]:
        ratio = ratios(found["speeds"]["bundle"], found["speeds"]["llama-server"])
        print(f"ratio         {ratio}")
        good &= ratio.median >= 0.97
    after = [size for at, size in found["memory"] if at >= min(60, options.seconds / 2)]
    growth = max(after) / after[0] - 1
    print(f"memory        {after[0] / 1e6:.1f} MB after the first minute, at most {growth:+.1%} since")
    return good and growth <= 0.05


def main() -> None:
    parser = arguments(__doc__, runs=1, help_runs="not used")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300, help="of load for each server")
    parser.add_argument("--turn", type=float, default=30, help="seconds of one turn")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--idle", type=int, default=2000, help="connections that say nothing, beside")
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--alone", action="store_true", help="without llama-server")
    options = parser.parse_args()
    common = ["-np", "8", "-c", "8192"]
    command = [options.bundle.resolve(), "--server", *common, "--queue", str(options.queue)]
    with running(command) as ours:
        idle = [socket.create_connection(("127.0.0.1", ours.port)) for _ in range(options.idle)]
        if options.alone:
            found = measure(ours, None, options)
        else:
            with running([options.reference, "-m", options.model, *common]) as theirs:
                found = measure(ours, theirs, options)
        print(f"{len(idle)} idle connections were held beside")
        for sock in idle:
            sock.close()
        good = judge(found, options)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
