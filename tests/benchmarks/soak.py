"""Thousands of requests to a bundle: its memory must not grow.

    python tests/benchmarks/soak.py --bundle smollm2.exe [--requests 10000]

Short answers, streamed and whole, some with a grammar, some of which the client leaves, some wrong, over --threads
connections. Shown: the bundle's memory that is no part of a file, at each tenth of the requests. Exit code 1 where it
is more than 5 % above that after the first fifth.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import threading
from pathlib import Path

from crowd import anonymous
from measure import Server, running

KINDS = (
    ({"prompt": "Hello", "n_predict": 2}, True),
    ({"prompt": "One two three", "n_predict": 4, "stream": True}, True),
    ({"prompt": "A", "n_predict": 2, "grammar": 'root ::= "yes" | "no"'}, True),
    ({"prompt": "Once upon a time", "n_predict": 200, "stream": True}, False),  # left after the first piece
    ({"prompt": 5}, True),
)


def send(port: int, body: dict[str, object], *, whole: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/completion", json.dumps(body))
    answer = connection.getresponse()
    if whole:
        answer.read()
    else:
        answer.readline()
        answer.close()
    if answer.status not in (200, 400, 429):
        raise RuntimeError(f"status {answer.status}")
    connection.close()


def work(server: Server, numbers: itertools.count[int], until: int, failures: list[BaseException]) -> None:
    try:
        while (number := next(numbers)) < until:
            body, whole = KINDS[number % len(KINDS)]
            send(server.port, body, whole=whole)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        failures.append(error)


def soak(server: Server, requests: int, threads: int) -> list[int]:
    """The memory after each tenth of the requests."""
    sizes: list[int] = []
    for tenth in range(1, 11):
        numbers, failures = itertools.count(requests * (tenth - 1) // 10), list[BaseException]()
        given = (server, numbers, requests * tenth // 10, failures)
        workers = [threading.Thread(target=work, args=given) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]
        sizes.append(anonymous(server.process.pid))
        print(f"{requests * tenth // 10:7} requests: {sizes[-1] / 1e6:.1f} MB", flush=True)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    with running([options.bundle.resolve(), "--server", "-np", "4", "-c", "4096"]) as server:
        sizes = soak(server, options.requests, options.threads)
    growth = max(sizes[1:]) / sizes[1] - 1
    print(f"at most {growth:+.1%} since the first fifth")
    raise SystemExit(0 if growth <= 0.05 else 1)


if __name__ == "__main__":
    main()
