"""An encrypted channel between two machines that know nothing of each other yet, and the handshake through it.

TLS 1.2 with an anonymous key exchange (finite-field Diffie-Hellman, RFC 7919's group of 3,072 bits; AES-128-GCM): there
are no certificates to be made and carried around, the keys are new for every connection, and who listens hears nothing.
Such a channel may end at somebody in the middle; so both sides then prove by the secret that they are in the same one
(rpc_handshake.py, "tls-unique" of RFC 5929). Without a secret it keeps out listeners and nobody else.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from solofile.runtime import rpc_handshake
from solofile.runtime.errors import SolofileError
from solofile.runtime.rpc_handshake import Facts, HandshakeError

PATIENCE = 10.0
"""Seconds that a handshake may take, however it is cut into pieces."""

_CIPHERS = "ADH-AES128-GCM-SHA256:@SECLEVEL=0"  # OpenSSL's word for: without certificates
_GROUP = """\
-----BEGIN DH PARAMETERS-----
MIIBiAKCAYEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEfz9zeNVs7ZRkDW7w09N75nAI4YbRvydbmyQd62R0mkff3
7lmMsPrBhtkcrv4TCYUTknC0EwyTvEN5RPT9RFLi103TZPLiHnH1S/9croKrnJ32
nuhtK8UiNjoNq8Uhl5sN6todv5pC1cRITgq80Gv6U93vPBsg7j/VnXwl5B0rZsYu
N///////////AgEC
-----END DH PARAMETERS-----
"""

_IDLE, _STEP, _TRIES = 15, 5, 3
"""Seconds after which a silent peer is asked whether it is there, and how often."""


class Channel:
    """One connection to another machine, encrypted."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.socket = tls
        self.binding = tls.get_channel_binding("tls-unique") or b""
        if len(self.binding) < 12 or tls.session_reused:
            raise HandshakeError("offers no channel that could be proven: start the same bundle on both machines")

    def read(self, size: int, deadline: float) -> bytes:
        """So many bytes. Raises OSError where they do not come in time, or not at all."""
        found = b""
        while len(found) < size:
            self.socket.settimeout(_left(deadline))
            part = self.socket.recv(size - len(found))
            if not part:
                raise ConnectionResetError("it was closed")
            found += part
        return found

    def close(self) -> None:
        """End it; what is not sent yet is not."""
        self.socket.close()

    def write(self, data: bytes, deadline: float) -> None:
        """Send all of it. Raises OSError."""
        self.socket.settimeout(_left(deadline))
        self.socket.sendall(data)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def context(server: Path | None = None) -> ssl.SSLContext:
    """How one side speaks TLS; ``server`` is a folder for a file of a moment, and None for the main machine.

    Raises SolofileError where this build of OpenSSL cannot, or the folder cannot be written to.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if server is None else ssl.PROTOCOL_TLS_SERVER)
    if server is None:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE  # there are no certificates
    made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_SINGLE_DH_USE
    try:
        made.set_ciphers(_CIPHERS)
        if server is not None:
            _load_group(made, server)
    except ssl.SSLError as error:
        raise SolofileError(
            f"{ssl.OPENSSL_VERSION} lacks the encryption that several machines need ({error.reason}): use a bundle "
            "whose runtime was frozen with another OpenSSL."
        ) from error
    except OSError as error:
        raise SolofileError(
            f"{server} cannot be written to ({error.strerror or error}): set SOLOFILE_CACHE to a folder that can."
        ) from error
    return made


def _load_group(made: ssl.SSLContext, folder: Path) -> None:
    """Python takes the group from a file alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".pem", dir=folder)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(_GROUP)
        made.load_dh_params(name)
    finally:
        Path(name).unlink()


def tune(sock: socket.socket) -> None:
    """No waiting for more to send, and word of a peer that is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _STEP), ("TCP_KEEPCNT", _TRIES)):
        if hasattr(socket, name) and sys.platform != "win32":
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (_IDLE + _STEP * _TRIES) * 1000)


def secured(sock: socket.socket, made: ssl.SSLContext, *, server: bool, deadline: float) -> Channel:
    """The channel over a connected socket, which it owns from now on. Raises OSError, HandshakeError."""
    try:
        tune(sock)
        sock.settimeout(_left(deadline))
        tls = made.wrap_socket(sock, server_side=server)
    except BaseException:
        sock.close()
        raise
    try:
        return Channel(tls)
    except BaseException:
        tls.close()
        raise


def introduce(channel: Channel, key: bytes, purpose: int, deadline: float) -> Facts:
    """The main side of a handshake. Raises HandshakeError, and OSError where the other side stops talking."""
    side = rpc_handshake.Main(key, channel.binding, purpose)
    channel.write(side.hello(), deadline)
    channel.write(side.answer(channel.read(rpc_handshake.CHALLENGE, deadline)), deadline)
    side.check(channel.read(rpc_handshake.VERDICT, deadline))
    size = rpc_handshake.length_of(channel.read(rpc_handshake.LENGTH, deadline))
    return rpc_handshake.unpacked(channel.read(size, deadline))


def admit(channel: Channel, key: bytes, deadline: float, *, penalty: float = 0.0) -> int | None:
    """The worker's side, up to the facts: what the connection is for, or None where it was refused.

    Who has another secret hears of it ``penalty`` seconds later.
    """
    side = rpc_handshake.Worker(key, channel.binding)
    channel.write(side.challenge(channel.read(rpc_handshake.HELLO, deadline)), deadline)
    accepted, verdict = side.judge(channel.read(rpc_handshake.PROOF, deadline))
    if not accepted:
        time.sleep(penalty)
    channel.write(verdict, deadline)
    return side.purpose if accepted else None
