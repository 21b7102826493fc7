"""The life of a program that serves: the model loads, requests are answered, and something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from solofile.runtime import preload
from solofile.runtime.engine_api import Engine, State, failure
from solofile.runtime.errors import EngineError, SolofileError
from solofile.runtime.presence import Presence
from solofile.runtime.shutdown import Terminated

if TYPE_CHECKING:
    from solofile.runtime.control import Control
    from solofile.runtime.observer import Observer
    from solofile.runtime.serve import Server

GRACE = 2.0
"""Seconds that open answers get when the server stops."""

_LOOK = 0.05
_STEP = 0.25
"""A wait without an end hears no signal on Windows, nor one that the kernel gives to another thread."""


class Life:
    """Waits on the main thread for what ends the program: a signal, its page, or that nobody has it open."""

    def __init__(
        self, server: Server, engine: Engine, control: Control, idle: float | None, say: Callable[[str], None],
        settled: Callable[[], None] = lambda: None, *, seen: bool = False, observer: Observer | None = None,
        drain: float = 0.0,
    ) -> None:  # fmt: skip
        """``idle``: seconds without a page after which it ends, None for never; ``seen``: one was open before.
        ``settled`` is called when the model is loaded, or cannot be. ``drain``: seconds that answers under way may take
        when another program asks this one to end."""
        streams, watcher = server.streams, server.watcher
        self._server, self._engine, self._control, self._say = server, engine, control, say
        self._presence = Presence(
            idle, lambda: (streams.count, streams.ever), lambda: (watcher.open_calls, watcher.calls), seen=seen
        )
        self._settled = settled
        self._observer, self._drain_seconds = observer, drain
        self._loaded = False

    def to_the_end(self, *, tell_failure: bool, lonely: bool = True) -> int:
        """Serve until the end and stop; return the exit code.

        With ``tell_failure`` the page goes on to say why the model cannot be loaded; without, that is an EngineError.
        ``lonely``: then it does not wait for long without a page. Where another model is to follow (Control.next_model,
        lost_worker) the server keeps listening.
        While the model loads, a signal's exception passes through.
        """
        code = 0
        try:
            if (state := self._load()).phase in ("failed", "stopped"):
                code = self._fail(state, tell=tell_failure, lonely=lonely)
            while not self._control.wait(_STEP):
                if self._presence.due:
                    self._control.end("Nobody has the page open, so the program ends; --idle-exit sets after how long.")
            self._say(self._control.reason)
        except KeyboardInterrupt as asked:
            if not self._loaded:
                raise
            self._control.next_model, self._control.lost_worker = "", None
            self._drain(asked)
        if self._control.lost_worker is not None:
            return code  # what is open ends with this process: its engine would never answer
        if self._control.next_model:
            self._make_way()
        else:
            self._stop()
        return code

    def _drain(self, asked: KeyboardInterrupt) -> None:
        """Asked by another program (SIGTERM), let the answers under way come to their end; Ctrl-C ends them at once,
        and so does a second signal. Meanwhile whoever asks something new is told that the server stops."""
        open_calls = self._server.watcher
        if not isinstance(asked, Terminated) or not self._drain_seconds or not open_calls.open_calls:
            self._say("Stopping.")
            return
        if self._observer is not None:
            self._observer.admission.close()
        count = open_calls.open_calls
        self._say(
            f"Stopping: {count} answer{'s are' if count > 1 else ' is'} finished first, for "
            f"{self._drain_seconds:g} seconds at most; a second signal ends {'them' if count > 1 else 'it'}."
        )
        until = time.monotonic() + self._drain_seconds
        try:
            while open_calls.open_calls and time.monotonic() < until:
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            self._say("Stopping at once.")

    def _load(self) -> State:
        """Wait for the model, or the end."""
        begin = time.monotonic()
        state = self._engine.state()
        while state.phase == "loading" and not self._control.ending:
            state = self._engine.wait(_STEP)
        self._loaded = state.phase != "loading"
        if self._loaded:
            self._settled()
        if state.phase == "ready":
            if self._observer is not None:
                self._observer.learn_slots()
                preload.in_background(page=self._observer.shows_page)
            self._say(f"The model is loaded ({time.monotonic() - begin:.1f} s); Ctrl-C stops.")
        return state

    def _fail(self, state: State, *, tell: bool, lonely: bool) -> int:
        if not tell:
            raise EngineError(failure(state))
        if not state.whole:  # else it was said
            self._say(failure(state))
        if lonely:
            self._presence.fail()
        return EngineError.exit_code

    def _make_way(self) -> None:
        """End the open answers, for the process to be replaced: what does not end in time ends then."""
        self._server.quiet(GRACE)
        with suppress(SolofileError):
            self._engine.stop(GRACE)

    def _stop(self) -> None:
        self._server.stop(GRACE)
        if self._observer is not None:
            self._observer.close()
        if self._engine.state().phase == "loading":
            return  # what loads cannot be stopped, and need not be: the process ends
        try:
            self._engine.stop(GRACE)
        except SolofileError as error:
            self._say(str(error))


class NoEngine:
    """Stands where no engine could be started, for the page to say why."""

    def __init__(self, message: str) -> None:
        """``message`` is a sentence with its remedy."""
        self._state = State("failed", 0.0, message, whole=True)

    def state(self) -> State:
        """It failed."""
        return self._state

    def wait(self, _timeout: float | None = None) -> State:
        """It failed."""
        return self._state

    def reading(self) -> None:
        """Nothing is read."""

    def call(self, _request: object) -> Any:
        """Nothing is answered."""
        raise EngineError(self._state.message)

    def stop(self, _timeout: float = 2.0) -> None:
        """There is nothing to stop."""
