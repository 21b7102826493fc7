"""What the tests of HTTP share."""

from __future__ import annotations

from collections.abc import Callable

from solofile.runtime.serve import Server
from solofile.runtime.server_settings import About
from werkzeug.test import Client

ABOUT = About("tiny", "Tiny model", "Be brief.", "0.1.0")
PIECES = [f"piece {number} " for number in range(8)]

MakeClient = Callable[..., Client]
"""Takes the fields of `ServerSettings`; Werkzeug's client, as Flask's is left out by `runtime/slim.py`."""

MakeServer = Callable[..., Server]
"""Takes the fields of `ServerSettings`; the server runs on a free port."""
