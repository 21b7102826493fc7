"""The modes that open a port: the page (by default) and --server."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from solofile.runtime.conversation import wait_ready
from solofile.runtime.engine_api import Engine
from solofile.runtime.errors import SolofileError
from solofile.runtime.manifest import Manifest
from solofile.runtime.ports import bind_sockets
from solofile.runtime.server_settings import About, ServerSettings
from solofile.runtime.settings import Launch
from solofile.runtime.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from solofile.runtime.httpd import WSGIApp
    from solofile.runtime.serve import Server

GRACE = 2.0
"""Seconds that open answers get when the server stops."""

Say = Callable[[str], None]


def with_key_files(settings: ServerSettings, files: tuple[str, ...]) -> ServerSettings:
    """Add the keys of --api-key-file."""
    if not files:
        return settings
    from solofile.runtime.auth import read_api_keys

    keys = [*settings.api_keys, *(key for name in files for key in read_api_keys(Path(name)))]
    return dataclasses.replace(settings, api_keys=tuple(keys))


def run(launch: Launch, manifest: Manifest, engine: Engine, show: Say, say: Say, environ: Mapping[str, str]) -> int:
    """Serve until a signal ends it; return the exit code. While the model loads, the signal's exception passes through.

    ``show`` prints the URL, ``say`` everything else. The port answers before Flask is imported and the model is loaded.
    """
    if launch.server is None:
        raise ValueError(f"the mode {launch.mode} opens no port")
    settings = with_key_files(launch.server, launch.api_key_files)
    listeners = bind_sockets(settings.hosts, launch.port, fixed=launch.port_given, reuse_port=settings.reuse_port)
    from solofile.runtime.door import Door
    from solofile.runtime.serve import open_server

    about = About(manifest.name, manifest.title, launch.system_prompt, __version__)
    door = Door(engine.state, lambda: _make_app(engine, settings, about), prefix=settings.api_prefix)
    server = open_server(door, settings, listeners=listeners)
    server.start()
    _announce(server, settings, manifest, show, say)
    if launch.browser and not listeners[0].unix_path:
        _open_browser(server.urls[0], say, environ)
    door.wait()  # raises what making the app raised
    return _serve(server, engine, say)


def _make_app(engine: Engine, settings: ServerSettings, about: About) -> WSGIApp:
    from solofile.runtime.app import create_app

    return create_app(engine, settings, about)


def _announce(server: Server, settings: ServerSettings, manifest: Manifest, show: Say, say: Say) -> None:
    for note in server.notes:
        say(note)
    for url in server.urls:
        show(f"{manifest.title or manifest.name} is at {url}")
    if not settings.loopback and not settings.api_keys:
        say("Whoever reaches this port may use it: give --api-key a key, or leave --host out for this machine only.")


def _open_browser(url: str, say: Say, environ: Mapping[str, str]) -> None:
    from solofile.runtime.browser import has_desktop, open_page

    if not open_page(url, environ) and has_desktop(environ):
        say(f"No program to show the page with was found: open {url} in a browser.")


def _serve(server: Server, engine: Engine, say: Say) -> int:
    begin, loaded = time.monotonic(), False
    try:
        wait_ready(engine)
        loaded = True
        say(f"The model is loaded ({time.monotonic() - begin:.1f} s); Ctrl-C stops.")
        server.serve()
    except KeyboardInterrupt:
        if not loaded:
            raise
        say("Stopping.")
    server.stop(GRACE)
    try:
        engine.stop(GRACE)
    except SolofileError as error:
        say(str(error))
    return 0
