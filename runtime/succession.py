"""How a start that serves goes on as another: with another model of the bundle, or without a worker that went away.

Another program, not this one changed (handover.py). In the sandbox it is the process outside of it that becomes the
other (outside.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from solofile.runtime import handover, options, outside
from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from solofile.runtime.control import Control
    from solofile.runtime.ports import Listener
    from solofile.runtime.rpc_settings import Endpoint
    from solofile.runtime.sharing import Team

_WITHOUT = "/without/"
"""Before a worker's address: no model's name has such a sign."""


class Succession:
    """Those that may follow this process, and what they get from it.

    ``words`` is the command line that this start was given, ``listeners`` gives the port's sockets; ``secret`` and
    ``moved`` are the page's record of itself.
    """

    def __init__(
        self, words: Sequence[str], models: Sequence[str], workers: Sequence[Endpoint], environ: Mapping[str, str],
        listeners: Callable[[], Sequence[Listener]], secret: str, moved: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        self._words, self._models, self._workers = words, models, workers
        self._environ, self._listeners = environ, listeners
        self._secret, self._moved = secret, moved

    @property
    def can_switch(self) -> bool:
        """Is there another model, and does this system replace programs?"""
        return handover.POSSIBLE and len(self._models) > 1

    def split(self) -> outside.Ended | None:
        """Keep a process outside the sandbox that can begin anew: None where this one is to serve, else what the one
        that served left. Raises InputError where that cannot be."""
        if not (outside.POSSIBLE and (self.can_switch or self._workers)):
            return None
        ended = outside.split(self._listeners(), self._command_lines())
        if ended is not None and ended.successor:
            self._renew(ended.successor, "The program cannot begin anew", "start the bundle again")
        return ended

    def move_on(self, model: str) -> None:
        """Let another process, or this one anew, go on with ``model``; returns where it is another. Raises InputError
        where that cannot be."""
        if outside.inside():
            outside.ask(model)
        else:
            self._renew(model, "The model cannot be changed", f"start the bundle again with --use {model}")

    def renew_without_lost(self, team: Team, control: Control) -> None:
        """Where a worker goes away, go on as a program without it: what else would compute its layers?"""
        if not handover.POSSIBLE:
            return  # the launcher starts it once more

        def tell(gone: Endpoint, how: str) -> None:
            control.renew(gone, f"{how} Going on without it; what was being answered ends.")

        team.workers.when_lost(tell)

    def go_on_without(self, lost: Endpoint, cache: Path, say: Callable[[str], None]) -> NoReturn:
        """Be replaced at once, whatever is under way; where the system does not let us, the launcher does it."""
        if outside.inside():
            outside.ask(f"{_WITHOUT}{lost}")
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(0)  # the engine waits for what will not come
        from solofile.runtime import sharing

        try:
            self._become(f"{_WITHOUT}{lost}")
        except OSError as error:
            how = f"This process cannot be replaced ({error.strerror or error})."
            sharing.give_up(cache, self._environ, lost, how, say)
            os.abort()

    def _renew(self, successor: str, fact: str, remedy: str) -> NoReturn:
        """The same for a start that can still say what became of it. Raises InputError."""
        try:
            self._become(successor)
        except OSError as error:
            raise InputError(f"{fact} ({error.strerror or error}): {remedy}.") from error

    def _become(self, successor: str) -> NoReturn:
        """Be replaced by the one of that name. Raises OSError where the system does not let us."""
        words = self._command_lines()[successor]
        handover.become(words, self._environ, self._listeners(), self._secret, self._moved)

    def _command_lines(self) -> dict[str, list[str]]:
        """What may follow, each with its name: one with another model, or without a worker."""
        from solofile.runtime import rpc_settings

        found = {model: handover.words_with(self._words, model) for model in self._models}
        for worker in self._workers:
            found[f"{_WITHOUT}{worker}"] = rpc_settings.words_without(options.parse(self._words), worker)
        return found
