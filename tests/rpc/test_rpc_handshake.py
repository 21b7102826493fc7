"""The handshake before llama.cpp's RPC, as bytes: what is accepted, and all that is not."""

from __future__ import annotations

import dataclasses
import json

import pytest
from solofile.runtime import rpc_handshake
from solofile.runtime.errors import InputError
from solofile.runtime.rpc_handshake import COMPUTE, LOOK, PULSE, Device, Facts, HandshakeError, Main, Worker, key_of

KEY = key_of("correct horse battery staple")
OTHER = key_of("correct horse battery stable")
CHANNEL = bytes(range(12))
FACTS = Facts("0.1.0", "0c1e570", (Device("CPU", "cpu", 8 << 30),))


def both(main_key: bytes = KEY, worker_key: bytes = KEY, purpose: int = COMPUTE) -> tuple[Main, Worker]:
    return Main(main_key, CHANNEL, purpose), Worker(worker_key, CHANNEL)


def talk(main: Main, worker: Worker) -> bool:
    """The whole of it; whether the worker accepted. Raises what either side raises."""
    accepted, verdict = worker.judge(main.answer(worker.challenge(main.hello())))
    main.check(verdict)
    return accepted


@pytest.mark.parametrize("purpose", [LOOK, COMPUTE, PULSE])
def test_the_same_secret_is_accepted_by_both(purpose: int) -> None:
    main, worker = both(purpose=purpose)
    assert talk(main, worker)
    assert worker.purpose == purpose


def test_without_a_secret_on_either_side_it_is_a_greeting() -> None:
    assert talk(*both(b"", b""))


def test_another_secret_is_refused_and_proves_nothing() -> None:
    main, worker = both(OTHER)
    accepted, verdict = worker.judge(main.answer(worker.challenge(main.hello())))
    assert not accepted
    assert verdict[1:] == bytes(rpc_handshake.PROOF)
    with pytest.raises(HandshakeError, match="has another secret"):
        main.check(verdict)


def test_a_worker_that_asks_for_none_is_not_trusted_by_who_has_one() -> None:
    main, worker = both(KEY, b"")
    with pytest.raises(HandshakeError, match="without a secret"):
        main.answer(worker.challenge(main.hello()))


def test_a_worker_that_asks_for_one_is_told_of_none() -> None:
    main, worker = both(b"", KEY)
    with pytest.raises(HandshakeError, match="asks for a secret"):
        main.answer(worker.challenge(main.hello()))


def test_a_worker_that_accepts_whatever_comes_is_found_out() -> None:
    main, worker = both()
    main.answer(worker.challenge(main.hello()))
    for proof in (bytes(32), b"\xff" * 32):
        with pytest.raises(HandshakeError, match="does not know the secret"):
            main.check(b"\0" + proof)


def test_a_proof_is_of_no_use_a_second_time() -> None:
    main, worker = both()
    hello = main.hello()
    proof = main.answer(worker.challenge(hello))
    assert worker.judge(proof)[0]
    assert not worker.judge(proof)[0], "to the same worker"
    again = Worker(KEY, CHANNEL)
    again.challenge(hello)
    assert not again.judge(proof)[0], "to a new connection, whose random bytes are others"


def test_a_proof_is_of_no_use_in_another_channel() -> None:
    """Somebody in the middle has two of them, and passes on what each side says."""
    main, worker = Main(KEY, b"the one side", COMPUTE), Worker(KEY, b"the other one")
    accepted, _ = worker.judge(main.answer(worker.challenge(main.hello())))
    assert not accepted


def test_a_proof_is_of_no_use_for_the_other_side() -> None:
    """A main machine that is sent its own proof back, as a mirror would."""
    main, worker = both()
    proof = main.answer(worker.challenge(main.hello()))
    with pytest.raises(HandshakeError, match="does not know the secret"):
        main.check(b"\0" + proof)


def test_random_bytes_are_new_each_time() -> None:
    assert Main(KEY, CHANNEL, LOOK).hello() != Main(KEY, CHANNEL, LOOK).hello()
    hello = Main(KEY, CHANNEL, LOOK).hello()
    assert Worker(KEY, CHANNEL).challenge(hello) != Worker(KEY, CHANNEL).challenge(hello)


def test_a_proof_before_any_hello_is_refused() -> None:
    assert not Worker(b"", CHANNEL).judge(bytes(32))[0]


@pytest.mark.parametrize("cut", [0, 1, 13, 46])
def test_a_hello_that_is_cut_short_is_none(cut: int) -> None:
    main, worker = both()
    with pytest.raises(HandshakeError, match="no worker"):
        worker.challenge(main.hello()[:cut])


@pytest.mark.parametrize("message", [b"GET / HTTP/1.1\r\n\r\n" + bytes(29), bytes(47), b"\x0e" + bytes(46)])
def test_what_is_no_hello_is_refused(message: bytes) -> None:
    with pytest.raises(HandshakeError, match="no worker"):
        both()[1].challenge(message)
    with pytest.raises(HandshakeError, match="no worker"):
        both()[0].answer(message)


@pytest.mark.parametrize(("at", "value"), [(13, 1), (13, 3), (14, 7)])
def test_another_version_is_said_to_be_one(at: int, value: int) -> None:
    main, worker = both()
    hello = bytearray(main.hello())
    hello[at] = value
    with pytest.raises(HandshakeError, match="another version"):
        worker.challenge(bytes(hello))


@pytest.mark.parametrize("verdict", [b"", b"\0", bytes(34), b"\1" + bytes(32), b"\2" + bytes(32)])
def test_a_verdict_of_another_shape_is_a_refusal(verdict: bytes) -> None:
    main, worker = both()
    main.answer(worker.challenge(main.hello()))
    with pytest.raises(HandshakeError):
        main.check(verdict)


@pytest.mark.parametrize("proof", [b"", bytes(31), bytes(33), bytes(1 << 20)])
def test_a_proof_of_another_size_is_refused(proof: bytes) -> None:
    main, worker = both()
    worker.challenge(main.hello())
    assert not worker.judge(proof)[0]


def test_facts_come_through() -> None:
    message = rpc_handshake.packed(FACTS._replace(busy=True))
    size = rpc_handshake.length_of(message[:4])
    assert size == len(message) - 4
    assert rpc_handshake.unpacked(message[4:]) == FACTS._replace(busy=True)
    assert FACTS.memory == 8 << 30


@pytest.mark.parametrize("head", [bytes(4), (rpc_handshake.MAX_FACTS + 1).to_bytes(4, "big"), b"\xff" * 4])
def test_facts_of_no_size_or_too_much_are_not_read(head: bytes) -> None:
    with pytest.raises(HandshakeError, match="too much"):
        rpc_handshake.length_of(head)


def changed(**values: object) -> bytes:
    document = json.loads(rpc_handshake.packed(FACTS)[4:])
    return json.dumps({**document, **values}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"null", b"[" * 30_000, b"\xff", changed(devices=[]), changed(devices={}), changed(busy=1),
        changed(commit=7), changed(commit="x" * 300), changed(solofile="a\x1b[2J"), changed(devices=[{"name": "CPU"}]),
        changed(devices=[{"name": "CPU", "kind": "cpu", "memory": -1}]),
        changed(devices=[{"name": "CPU", "kind": "cpu", "memory": True}]),
        changed(devices=[{"name": "CPU", "kind": "cpu", "memory": 1}] * 17),
    ],
)  # fmt: skip
def test_facts_that_are_not_sound_are_refused(text: bytes) -> None:
    with pytest.raises(HandshakeError, match="nothing sound"):
        rpc_handshake.unpacked(text)


def test_its_errors_are_bad_input_and_no_secret_is_in_what_is_kept() -> None:
    assert issubclass(HandshakeError, InputError)
    assert key_of("") == b""
    assert len(KEY) == 32
    assert b"correct" not in KEY
    assert not dataclasses.is_dataclass(FACTS)
