"""The modes that open a port: the page (by default) and --server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from solofile.runtime import access
from solofile.runtime.boot import RESUME
from solofile.runtime.confining import Front
from solofile.runtime.control import Control
from solofile.runtime.engine_api import Engine
from solofile.runtime.errors import SolofileError
from solofile.runtime.manifest import Manifest
from solofile.runtime.ports import Listener, bind_sockets, close_all
from solofile.runtime.server_settings import About, ServerSettings
from solofile.runtime.settings import NO_SANDBOX, PAGE, Launch, shortfall
from solofile.runtime.shutdown import Terminated
from solofile.runtime.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime import outside
    from solofile.runtime.boot import Started, Starter
    from solofile.runtime.container import Bundle
    from solofile.runtime.httpd import WSGIApp
    from solofile.runtime.instance import Place
    from solofile.runtime.observer import Observer
    from solofile.runtime.serve import Server
    from solofile.runtime.several import Several
    from solofile.runtime.sharing import Team
    from solofile.runtime.succession import Succession

Say = Callable[[str], None]


class Host:
    """One start that serves: what it was asked for, and whom it tells. ``show`` prints the URL, ``say`` all else."""

    def __init__(
        self, launch: Launch, bundle: Bundle, cache: Path, environ: Mapping[str, str], show: Say, say: Say,
        words: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        if launch.server is None:
            raise ValueError(f"the mode {launch.mode} opens no port")
        self.launch, self.bundle, self.environ, self.show, self.say = launch, bundle, environ, show, say
        self.settings = access.checked(access.with_key_files(launch.server, launch.api_key_files))
        self._cache = cache
        self._words = words
        self._place: Place | None = None
        self._moves_on = False
        self.resumed = False
        self._resume()

    def _resume(self) -> None:
        """Go on where this process was before it changed the model."""
        if RESUME not in self.environ:
            return
        from solofile.runtime import handover
        from solofile.runtime.instance import Place

        found = handover.resumed(self.environ)
        if found is None:
            return

        self.resumed = True
        self._place = Place(found.listeners, found.secret, moved=found.moved)

    @property
    def manifest(self) -> Manifest:
        """The bundle's."""
        return self.bundle.manifest

    @property
    def title(self) -> str:
        """What people call the bundle."""
        return self.manifest.title or self.manifest.name

    @property
    def on_desktop(self) -> bool:
        """Was it started for its page, by somebody who sits before this machine?"""
        from solofile.runtime.browser import has_desktop

        return self.launch.browser and has_desktop(self.environ)

    @property
    def shows_failures(self) -> bool:
        """Is the page the only place where the user sees why nothing starts? The window of a double-click on Windows
        closes at the end."""
        if self.resumed:
            return True
        told = sys.stderr is not None and sys.stderr.isatty() and sys.platform != "win32"
        return self.on_desktop and not told

    def find_place(self, words: tuple[str, ...]) -> bool:
        """Take the port where the page was last time; False where a copy runs already, whose page is opened.

        Only for the page, and where the user names no port. Before anything slow, so that two double-clicks in a row
        end in one program.
        """
        if self.resumed:
            return True
        unix = any(host.endswith(".sock") for host in self.settings.hosts)
        if self.launch.mode != PAGE or self.launch.port_given or unix:
            return True
        from solofile.runtime import instance

        words = tuple(word for word in words if word != "--no-browser")
        self._place = instance.take(self._instance_file, self.settings, words, first=self.launch.port)
        if self._place.note:
            self.say(self._place.note)
        if not self._place.running:
            return True
        self.show(f"{self.title} runs already, at {self._place.running}")
        self._open_browser(self._place.running, wait=True)
        return False

    @property
    def _instance_file(self) -> Path:
        import hashlib

        from solofile.runtime.instance import file_path

        return file_path(self._cache, hashlib.sha256(self.bundle.manifest_bytes).hexdigest())

    @cached_property
    def listeners(self) -> list[Listener]:
        """The sockets that listen, taken at the first look."""
        if self._place is not None:
            return self._place.listeners
        return bind_sockets(
            self.settings.hosts, self.launch.port, fixed=self.launch.port_given, reuse_port=self.settings.reuse_port
        )

    def started(self, start: Starter) -> Started:
        """Start the engine, with the port taken before: the sandbox lets none be taken any more."""
        if not self.launch.sandbox:
            self.say(NO_SANDBOX)
        pages = [one.url(tls=self.settings.tls, prefix=self.settings.api_prefix) for one in self.listeners]
        paths = [one.unix_path for one in self.listeners if one.unix_path]
        front = Front(tuple(one.socket for one in self.listeners), tuple(pages), tuple(paths))
        try:
            return start(self.launch, self.bundle, self.environ, self.say, front)
        except BaseException as error:
            if paths and not (isinstance(error, SolofileError) and self.shows_failures):
                close_all(self.listeners)
            raise

    def split(self) -> outside.Ended | None:
        """Keep a process outside the sandbox that can begin anew: None where this one is to serve, else what the one
        that served left. Raises InputError where that cannot be."""
        return self._succession.split() if self.launch.sandbox else None

    def run(self, started: Started) -> int:
        """Serve until a signal, the page or its absence ends it; return the exit code.

        While the model loads, a signal's exception passes through. The port answers before Flask is imported and the
        model is loaded.
        """
        from solofile.runtime import cache

        cache.prune_in_background(self._cache, started.in_use)
        try:
            settle, team = (lambda: self._settle(started)), started.team
            return self._run(started.engine, started.sentence, started.hardware, settle, team)
        finally:
            if not self._moves_on:
                self.leave()

    def show_failure(self, error: SolofileError) -> int:
        """Nothing could be started: tell the page, where it is one's only way to learn of it. Return the exit code."""
        from solofile.runtime.life import NoEngine

        self.say(str(error))
        try:
            self._run(NoEngine(str(error)), "", "", lambda: None)
        except Terminated:
            pass  # as early as that, or later: it is no success
        finally:
            if not self._moves_on:
                self.leave()
        return error.exit_code

    def leave(self) -> None:
        """End: this start is the one to be found no longer."""
        if self._place is not None:
            from solofile.runtime import instance

            instance.release(self._instance_file, self._place.secret)

    def _run(
        self, engine: Engine, kernel: str, hardware: str, settled: Callable[[], None], team: Team | None = None
    ) -> int:
        listeners = self.listeners
        from solofile.runtime.door import Door
        from solofile.runtime.life import Life
        from solofile.runtime.serve import open_server

        secret = self._place.secret if self._place else ""
        control = self._control(secret)
        idle = self._idle_seconds()
        about, several = self._about(kernel, hardware, idle), self._several()
        observer = self._observer(engine, about)
        door = Door(
            engine.state,
            lambda: _make_app(engine, self.settings, about, control, several, observer),
            prefix=self.settings.api_prefix,
        )
        server = open_server(door, self.settings, listeners=listeners)
        control.on_end(server.streams.wake)
        if team is not None:
            self._succession.renew_without_lost(team, control)
        server.start()
        if not self.resumed:
            self._announce(server)
        if self.launch.browser and not self.resumed and not listeners[0].unix_path:
            self._open_browser(server.urls[0])
        door.wait()  # raises what making the app raised
        life = Life(
            server, engine, control, idle, self.say, settled, seen=self.resumed, observer=observer,
            drain=self.settings.drain_seconds,
        )  # fmt: skip
        tell = self.on_desktop or self.resumed
        code = life.to_the_end(tell_failure=tell, lonely=self.launch.mode == PAGE)
        if control.lost_worker is not None:
            self._succession.go_on_without(control.lost_worker, self._cache, self.say)
        if control.next_model:
            self._succession.move_on(control.next_model)
            self._moves_on = True
        return code

    @cached_property
    def _succession(self) -> Succession:
        """What may follow this process."""
        from solofile.runtime.succession import Succession

        models = [model.name for model in self.manifest.models]
        workers = self.launch.rpc.workers if self.launch.rpc is not None else ()
        secret, moved = (self._place.secret, self._place.moved) if self._place else ("", None)
        return Succession(self._words, models, workers, self.environ, lambda: self.listeners, secret, moved)

    def _control(self, secret: str) -> Control:
        can_quit = self.launch.mode == PAGE and self.settings.loopback
        return Control(can_quit=can_quit, can_switch=self._succession.can_switch, secret=secret)

    def _several(self) -> Several | None:
        """What the API says of the bundle's other models."""
        from solofile.runtime import settings
        from solofile.runtime.several import Several

        models = self.manifest.models
        if len(models) < 2:
            return None
        given = [one.values[0] for one in settings.given(self.launch) if one.option.key == "-a"]
        aliases = {alias.strip() for value in given for alias in value.split(",")} | {self.manifest.name}
        running = next(model.name for model in models if model.path == self.launch.model)
        return Several(tuple(model.name for model in models), running, frozenset(aliases))

    def _observer(self, engine: Engine, about: About) -> Observer:
        from solofile.runtime.observer import Observer

        return Observer(engine, self.settings, about, self.say)

    def _settle(self, started: Started) -> None:
        lacks = started.seal()
        if lacks:
            self.say(shortfall(lacks))

    def _idle_seconds(self) -> float | None:
        """Seconds without a page after which the program ends, None for never."""
        wanted = self.launch.idle_exit
        if self.launch.mode != PAGE or not wanted or not (self.on_desktop or self.launch.idle_exit_given):
            return None
        return wanted * 60

    def _about(self, kernel: str, hardware: str, idle: float | None) -> About:
        from solofile.runtime import about, settings

        moved = self._place.moved if self._place else None
        kernel = kernel.removeprefix("Kernels: ")  # the page has a label of its own before it
        more: dict[str, Any] = {"kernel": kernel, "hardware": hardware, "port": moved, "idle_exit": idle}
        if self.launch.picked is not None:
            more["models"] = about.models(self.launch.picked)
        facts = about.facts(self.bundle, self.launch.model, settings.given(self.launch), **more)
        named = (self.manifest.name, self.manifest.title, self.launch.system_prompt, __version__)
        return About(*named, facts, about.icon(self.bundle))

    def _announce(self, server: Server) -> None:
        moved = self._place.moved if self._place else None
        for note in server.notes if moved is None else ():
            self.say(note)
        if moved is not None:
            self.say(
                f"{moved['reason']} The page is at port {moved['got']} this time; the conversations that the browser "
                f"keeps for port {moved['wanted']} are there again when that is free."
            )
        for url in server.urls:
            self.show(f"{self.title} is at {url}")
        if not self.settings.loopback and not self.settings.locked:
            self.say("Whoever reaches this port may use it, as --no-auth says.")

    def _open_browser(self, url: str, *, wait: bool = False) -> None:
        if not self.launch.browser:
            return
        from solofile.runtime.browser import open_page, show

        if wait:
            open_page(url, self.environ, self.say, wait=True)
        else:
            show(url, self.environ, self.say)


def _make_app(
    engine: Engine, settings: ServerSettings, about: About, control: Control, several: Several | None,
    observer: Observer,
) -> WSGIApp:  # fmt: skip
    from solofile.runtime.app import create_app

    return create_app(engine, settings, about, control, several, observer)
