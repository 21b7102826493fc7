"""What the secret in front of llama.cpp's RPC costs: our channel against a plain connection, on this machine.

    python tests/benchmarks/rpc_front.py

Both go over loopback, a process for each machine: main → splice → encrypted → splice → worker, against main → worker.
Bulk is what weights are sent as (pieces of 4 MiB), a round trip what each token costs (so many bytes there and back).
Median (min … max) of interleaved runs. A network of 1 Gbit/s carries 118 MB/s, one of 10 Gbit/s 1180 MB/s.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from solofile.runtime import rpc_channel, rpc_client, rpc_worker
from solofile.runtime.ports import Listener
from solofile.runtime.rpc_handshake import Device, Facts, key_of
from solofile.runtime.rpc_settings import Endpoint

SECRET = "a secret of the benchmark's own"
FACTS = Facts("0", "c", (Device("CPU", "cpu", 1),))
RUNS, BULK, PIECE, TRIPS = 7, 512 << 20, 4 << 20, 1000
SIZES = (64, 2304, 65536)
"""Bytes of a round trip: a command, a token's activations of a small model, of a batch."""


def answer(client: socket.socket) -> None:
    """The worker's end: 8 bytes of length, so many bytes, then as many back if the first bit says so, else one."""
    buffer = memoryview(bytearray(PIECE))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) if client.family != socket.AF_UNIX else None
    while len(head := client.recv(8, socket.MSG_WAITALL)) == 8:
        size, back = int.from_bytes(head, "big") >> 1, head[7] & 1
        left = size
        while left:
            left -= client.recv_into(buffer, min(left, PIECE))
        client.sendall(buffer[: size if back else 1])


def worker(ports: multiprocessing.Queue[int]) -> None:
    """A process that serves both ways."""
    plain, front = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        context = rpc_channel.context(Path(folder))
    made = rpc_worker.Front(
        [Listener(front, "127.0.0.1", 0)], key_of(SECRET), context, lambda: FACTS, lambda: None, lambda _: None
    )
    made.start()
    for one in (plain, front):
        ports.put(one.getsockname()[1])

    def serve() -> None:
        while True:
            with socket.socket(fileno=made.accept()) as client:
                answer(client)

    threading.Thread(target=serve, daemon=True).start()
    while True:
        client, _ = plain.accept()
        with client:
            answer(client)


def bulk(sock: socket.socket) -> float:
    """MB/s."""
    data = bytes(PIECE)
    begin = time.perf_counter()
    for _ in range(BULK // PIECE):
        sock.sendall((PIECE << 1).to_bytes(8, "big"))
        sock.sendall(data)
        sock.recv(1)
    return BULK / (time.perf_counter() - begin) / 1e6


def trip(sock: socket.socket, size: int) -> float:
    """Microseconds."""
    data = (size << 1 | 1).to_bytes(8, "big") + bytes(size)
    begin = time.perf_counter()
    for _ in range(TRIPS):
        sock.sendall(data)
        sock.recv(size, socket.MSG_WAITALL)
    return (time.perf_counter() - begin) / TRIPS * 1e6


def main() -> None:
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=worker, args=(ports,), daemon=True)
    process.start()
    plain_port, front_port = ports.get(), ports.get()
    there = Endpoint("127.0.0.1", front_port)
    found = rpc_client.find((there,), SECRET, "c")
    with socket.create_connection(("127.0.0.1", plain_port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.socket(fileno=found.connect(*there)) as ours:
            show("bulk, MB/s", lambda: bulk(plain), lambda: bulk(ours))
            for size in SIZES:
                show(f"round trip of {size} bytes, µs", lambda n=size: trip(plain, n), lambda n=size: trip(ours, n))
    process.terminate()


def show(what: str, plain: Callable[[], float], ours: Callable[[], float]) -> None:
    pairs = [(plain(), ours()) for _ in range(RUNS)]
    texts = [f"{statistics.median(one):8.1f} ({min(one):.1f} … {max(one):.1f})" for one in zip(*pairs, strict=True)]
    print(f"{what:32} plain {texts[0]:30} front {texts[1]}", flush=True)


if __name__ == "__main__":
    main()
