"""What two machines say to each other before llama.cpp's RPC protocol, which knows no secret: a pure part, bytes only.

    main → worker   hello       magic, version, purpose, 32 random bytes
    worker → main   challenge   magic, version, whether it asks for a secret, 32 random bytes
    main → worker   proof       HMAC-SHA-256 by the secret over all that was said, and the channel it was said in
    worker → main   verdict     accepted or not; where it was, the worker's own proof
    worker → main   facts       4 bytes of length, JSON: its versions, its devices

All of it goes through an encrypted channel that is nobody's yet (rpc_channel.py). The proofs hold what identifies that
channel, which somebody in the middle, who has one channel to each side, cannot make the same. Random bytes of both
sides and a label for each side are in them, so that no proof is of use a second time, or for the other side. The main
machine proves itself first: who merely connects to a worker learns nothing by which secrets could be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from solofile.runtime.record import NamedTuple

MAGIC = b"solofile rpc\n"
VERSION = 2
LOOK, COMPUTE, PULSE = 0, 1, 2
"""What a connection is for: the facts alone, llama.cpp's protocol behind them, or signs of life (rpc_pulse.py)."""

NONCE, PROOF = 32, 32
HELLO = CHALLENGE = len(MAGIC) + 2 + NONCE
VERDICT = 1 + PROOF
LENGTH = 4
MAX_FACTS = 64 * 1024
MAX_DEVICES = 16
LEAST_SECRET = 16
"""Characters: whoever poses as a worker can try out guesses at leisure."""

_ACCEPTED, _REFUSED = 0, 1
_ROUNDS = 100_000


class HandshakeError(InputError):
    """The other side is not what it should be; the message is a predicate for it, with the remedy."""


class Device(NamedTuple):
    """One device of a worker: ``memory`` are the bytes that can be had there."""

    name: str
    kind: str
    memory: int


class Facts(NamedTuple):
    """What a worker says of itself; ``commit`` is llama.cpp's. ``busy``: it computes for another machine."""

    solofile: str
    commit: str
    devices: tuple[Device, ...]
    busy: bool = False

    @property
    def memory(self) -> int:
        """The bytes of all its devices."""
        return sum(one.memory for one in self.devices)


def key_of(secret: str) -> bytes:
    """The key that proofs are made with, slow to compute for who guesses; that of no secret is empty."""
    if not secret:
        return b""
    return hashlib.pbkdf2_hmac("sha256", secret.encode("utf-8", "surrogateescape"), MAGIC, _ROUNDS)


class Main:
    """The side that has the model. ``binding`` identifies the channel; ``nonce`` is random where none is given."""

    def __init__(self, key: bytes, binding: bytes, purpose: int, nonce: bytes | None = None) -> None:
        self._key, self._binding = key, binding
        self._hello = MAGIC + bytes((VERSION, purpose)) + (os.urandom(NONCE) if nonce is None else nonce)
        self._said = b""

    def hello(self) -> bytes:
        """The first message."""
        return self._hello

    def answer(self, challenge: bytes) -> bytes:
        """The proof for the worker's challenge. Raises HandshakeError before anything is proven where it is none."""
        wanted = _parsed(challenge, CHALLENGE)
        if wanted and not self._key:
            raise HandshakeError("asks for a secret: give --rpc-secret-file the one that it was started with")
        if self._key and not wanted:
            raise HandshakeError("was started without a secret: start it with the same --rpc-secret-file")
        self._said = self._hello + challenge
        return _proof(self._key, b"main", self._binding, self._said)

    def check(self, verdict: bytes) -> None:
        """Raises HandshakeError unless the worker accepted, and knows the secret itself."""
        if len(verdict) == VERDICT and verdict[0] == _ACCEPTED:
            if hmac.compare_digest(verdict[1:], _proof(self._key, b"worker", self._binding, self._said)):
                return
            raise HandshakeError("does not know the secret: it is not the worker that it should be")
        raise HandshakeError("has another secret: give both the same --rpc-secret-file")


class Worker:
    """The side that computes for it."""

    def __init__(self, key: bytes, binding: bytes, nonce: bytes | None = None) -> None:
        self._key, self._binding = key, binding
        self._nonce = os.urandom(NONCE) if nonce is None else nonce
        self._said = b""
        self.purpose = LOOK

    def challenge(self, hello: bytes) -> bytes:
        """The answer to a hello. Raises HandshakeError where it is none."""
        self.purpose = _parsed(hello, HELLO)
        challenge = MAGIC + bytes((VERSION, bool(self._key))) + self._nonce
        self._said = hello + challenge
        return challenge

    def judge(self, proof: bytes) -> tuple[bool, bytes]:
        """Whether the proof is one, and the verdict to be sent; one that refuses proves nothing."""
        if not self._said or not hmac.compare_digest(proof, _proof(self._key, b"main", self._binding, self._said)):
            return False, bytes((_REFUSED,)) + bytes(PROOF)
        mine = _proof(self._key, b"worker", self._binding, self._said)
        self._said = b""  # a proof counts once
        return True, bytes((_ACCEPTED,)) + mine


def _proof(key: bytes, side: bytes, binding: bytes, said: bytes) -> bytes:
    parts = (side, binding, said)
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")


def _parsed(message: bytes, size: int) -> int:
    """The byte behind the version of a hello or a challenge."""
    if len(message) != size or not message.startswith(MAGIC):
        raise HandshakeError("is no worker of a bundle: give --rpc the address that --rpc-worker printed")
    version, word = message[len(MAGIC)], message[len(MAGIC) + 1]
    if version != VERSION or word > PULSE:
        raise HandshakeError("speaks another version of this protocol: start the same bundle on both machines")
    return word


def packed(facts: Facts) -> bytes:
    """The last message of a handshake."""
    devices = [one._asdict() for one in facts.devices]
    text = json.dumps({**facts._asdict(), "devices": devices}).encode()
    return len(text).to_bytes(LENGTH, "big") + text


def length_of(head: bytes) -> int:
    """How many bytes of facts follow. Raises HandshakeError where these are more than any worker has."""
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FACTS:
        raise HandshakeError("says too much of itself: start the same bundle on both machines")
    return size


def unpacked(text: bytes) -> Facts:
    """Facts, of which each is what it should be. Raises HandshakeError."""
    try:
        found: Mapping[str, Any] = json.loads(text)
        devices = tuple(Device(one["name"], one["kind"], one["memory"]) for one in found["devices"])
        facts = Facts(found["solofile"], found["commit"], devices, found["busy"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HandshakeError("says nothing sound of itself: start the same bundle on both machines") from error
    texts = (facts.solofile, facts.commit, *(text for one in devices for text in (one.name, one.kind)))
    sound = all(isinstance(one, str) and one.isprintable() and len(one) <= 200 for one in texts)
    numbers = all(type(one.memory) is int and 0 <= one.memory < 1 << 60 for one in devices)
    if not (sound and numbers and 0 < len(devices) <= MAX_DEVICES and type(facts.busy) is bool):
        raise HandshakeError("says nothing sound of itself: start the same bundle on both machines")
    return facts
