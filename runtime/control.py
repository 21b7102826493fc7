"""The end of a program that serves, as the page's Quit, its choice of another model or its absence asks for it, and the
program's proof of identity.

The main thread waits for it (serving.py); routes ask for it from theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solofile.runtime.rpc_settings import Endpoint


class Control:
    """What the page may ask of the program. ``can_quit``: may it end it? ``can_switch``: may it change the model?"""

    def __init__(self, *, can_quit: bool = False, can_switch: bool = False, secret: str = "") -> None:
        """``secret`` is known to this user's programs alone (instance.py); without one nothing is proven."""
        self.can_quit = can_quit
        self.can_switch = can_switch
        self.next_model = ""
        """The model that is to run after the end; empty where it is one."""
        self.lost_worker: Endpoint | None = None
        """The worker without which to go on after the end, since the engine cannot; else None."""
        self.secret = secret
        self.reason = ""
        self._asked = threading.Event()
        self._on_end: list[Callable[[], None]] = []

    @property
    def ending(self) -> bool:
        """Was the end asked for?"""
        return self._asked.is_set()

    def on_end(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called when the end is asked for."""
        self._on_end.append(tell)

    def end(self, reason: str) -> None:
        """Ask for the end; ``reason`` is a sentence for the terminal."""
        if not self._asked.is_set():
            self.reason = reason
            self._asked.set()
            for tell in self._on_end:
                tell()

    def switch(self, model: str) -> None:
        """Ask for the end of this model and the start of another one."""
        if not self._asked.is_set():
            self.next_model = model
            self.end(f"Changing to the model {model}.")

    def renew(self, lost: Endpoint, reason: str) -> None:
        """Ask for the end of an engine that computes no more, and a start without this worker."""
        if not self._asked.is_set():
            self.lost_worker = lost
            self.end(reason)

    def wait(self, timeout: float) -> bool:
        """Wait for that; whether it was asked for."""
        return self._asked.wait(timeout)

    def proof(self, challenge: str) -> str:
        """What only a program that knows the secret can answer to ``challenge``."""
        return proof(self.secret, challenge)


def proof(secret: str, challenge: str) -> str:
    """HMAC-SHA-256 of a challenge, in hex; empty without a secret."""
    import hmac

    return hmac.new(secret.encode(), challenge.encode(), "sha256").hexdigest() if secret else ""
