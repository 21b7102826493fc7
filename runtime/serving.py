"""The modes that open a port: the page (by default) and --server."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from solofile.runtime.control import Control
from solofile.runtime.engine_api import Engine
from solofile.runtime.errors import InputError, SolofileError
from solofile.runtime.manifest import Manifest
from solofile.runtime.ports import Listener, bind_sockets
from solofile.runtime.server_settings import About, ServerSettings
from solofile.runtime.settings import PAGE, Launch
from solofile.runtime.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.boot import Started
    from solofile.runtime.container import Bundle
    from solofile.runtime.httpd import WSGIApp
    from solofile.runtime.instance import Place
    from solofile.runtime.observer import Observer
    from solofile.runtime.serve import Server

Say = Callable[[str], None]


class Host:
    """One start that serves: what it was asked for, and whom it tells. ``show`` prints the URL, ``say`` all else."""

    def __init__(
        self, launch: Launch, bundle: Bundle, cache: Path, environ: Mapping[str, str], show: Say, say: Say
    ) -> None:
        if launch.server is None:
            raise ValueError(f"the mode {launch.mode} opens no port")
        self.launch, self.bundle, self.environ, self.show, self.say = launch, bundle, environ, show, say
        self.settings = checked_access(with_key_files(launch.server, launch.api_key_files))
        self._cache = cache
        self._place: Place | None = None

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
        told = sys.stderr is not None and sys.stderr.isatty() and sys.platform != "win32"
        return self.on_desktop and not told

    def find_place(self, words: tuple[str, ...]) -> bool:
        """Take the port where the page was last time; False where a copy runs already, whose page is opened.

        Only for the page, and where the user names no port. Before anything slow, so that two double-clicks in a row
        end in one program.
        """
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

    def run(self, started: Started) -> int:
        """Serve until a signal, the page or its absence ends it; return the exit code.

        While the model loads, a signal's exception passes through. The port answers before Flask is imported and the
        model is loaded.
        """
        from solofile.runtime import cache

        cache.prune_in_background(self._cache, started.in_use)
        try:
            return self._run(started.engine, started.sentence, started.hardware)
        finally:
            self.leave()

    def show_failure(self, error: SolofileError) -> int:
        """Nothing could be started: tell the page, where it is one's only way to learn of it. Return the exit code."""
        from solofile.runtime.life import NoEngine

        self.say(str(error))
        try:
            self._run(NoEngine(str(error)), "", "")
        finally:
            self.leave()
        return error.exit_code

    def leave(self) -> None:
        """End: this start is the one to be found no longer."""
        if self._place is not None:
            from solofile.runtime import instance

            instance.release(self._instance_file, self._place.secret)

    def _run(self, engine: Engine, kernel: str, hardware: str) -> int:
        listeners = self._place.listeners if self._place else self._bind()
        from solofile.runtime.door import Door
        from solofile.runtime.life import Life
        from solofile.runtime.serve import open_server

        secret = self._place.secret if self._place else ""
        control = Control(can_quit=self.launch.mode == PAGE and self.settings.loopback, secret=secret)
        idle = self._idle_seconds()
        about = self._about(kernel, hardware, idle)
        observer = self._observer(engine, about)
        door = Door(engine.state, lambda: _make_app(engine, self.settings, about, control, observer),
                    prefix=self.settings.api_prefix)  # fmt: skip
        server = open_server(door, self.settings, listeners=listeners)
        control.on_end(server.streams.wake)
        server.start()
        self._announce(server)
        if self.launch.browser and not listeners[0].unix_path:
            self._open_browser(server.urls[0])
        door.wait()  # raises what making the app raised
        life = Life(server, engine, control, idle, self.say, observer=observer, drain=self.settings.drain_seconds)
        return life.to_the_end(tell_failure=self.on_desktop)

    def _observer(self, engine: Engine, about: About) -> Observer:
        from solofile.runtime.observer import Observer

        return Observer(engine, self.settings, about, self.say)

    def _bind(self) -> list[Listener]:
        return bind_sockets(
            self.settings.hosts, self.launch.port, fixed=self.launch.port_given, reuse_port=self.settings.reuse_port
        )

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
        facts = about.facts(self.bundle, self.launch.model, settings.given(self.launch), **more)
        return About(self.manifest.name, self.manifest.title, self.launch.system_prompt, __version__, facts)

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
        from solofile.runtime.browser import open_page

        open_page(url, self.environ, self.say, wait=wait)


def with_key_files(settings: ServerSettings, files: tuple[str, ...]) -> ServerSettings:
    """Add the keys of --api-key-file."""
    if not files:
        return settings
    from solofile.runtime.auth import read_api_keys

    keys = tuple(key for name in files for key in read_api_keys(Path(name)))
    return dataclasses.replace(settings, keys=(*settings.keys, *keys))


def checked_access(settings: ServerSettings) -> ServerSettings:
    """The settings, unless they would let in whoever reaches the port without the user having said so: InputError."""
    if not settings.loopback and not settings.locked and not settings.open_to_all:
        raise InputError(
            f"--host {','.join(settings.hosts)} lets other machines in: give --api-key-file or --api-key a key, or "
            "--no-auth where everybody may use it."
        )
    if settings.open_to_all and settings.locked:
        raise InputError("--no-auth and a key ask for different things: give one of them.")
    return settings


def _make_app(engine: Engine, settings: ServerSettings, about: About, control: Control, observer: Observer) -> WSGIApp:
    from solofile.runtime.app import create_app

    return create_app(engine, settings, about, control, observer)
