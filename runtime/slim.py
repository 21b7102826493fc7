"""Makes `import flask` and `import cheroot` cheap: leaves out what a bundle never runs.

Imported for its effect, before either. Flask imports its command line (click), its templates (Jinja) and Werkzeug's
development server and test client; cheroot reads its own package metadata and imports more_itertools and ssl. That is
a third of the time until the HTTP app is there, and none of it is used here. Each is replaced in ``sys.modules`` by a
stand-in with just the names that are read while importing; to use one of them says what is missing.

A module that is already imported is left alone. Flask's own test client is among what is left out: Werkzeug's does.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

UNUSED = (
    "click",
    "flask.cli",
    "jaraco",
    "jinja2",
    "more_itertools",
    "werkzeug.debug",
    "werkzeug.serving",
)
"""What need not ship, nor ``werkzeug.test``, which only tests import."""


class Absent:
    """Stands for a class that a bundle does not have; it may be inherited from, not made."""

    def __init__(self, *_args: object, **_more: object) -> None:
        """Always fails."""
        raise NotImplementedError(
            f"{type(self).__module__}.{type(self).__name__} is left out: see solofile.runtime.slim."
        )


class StandIn(ModuleType):
    """A module all of whose names are `Absent` classes, but for those it is given."""

    def __init__(self, name: str, **names: object) -> None:
        """Stand for the module ``name``."""
        super().__init__(name, "Left out of the runtime, see solofile.runtime.slim.")
        self.__path__: list[str] = []
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        absent = type(name, (Absent,), {"__module__": self.__name__})
        setattr(self, name, absent)
        return absent


class Commands:
    """Stands for the group of commands that each Flask app and Blueprint makes."""

    def __init__(self, name: str | None = None) -> None:
        """An empty group."""
        self.name = name
        self.commands: dict[str, object] = {}


def install() -> None:
    """Put the stand-ins where nothing is yet."""
    if "flask" not in sys.modules and "werkzeug" not in sys.modules:
        _leave_unrun("werkzeug")
        _stand_in("werkzeug.serving", is_running_from_reloader=lambda: False)
        _stand_in("flask.cli", AppGroup=Commands)
        for name in ("click", "jinja2", "jinja2.loaders"):
            _stand_in(name)
    if "cheroot" not in sys.modules:
        _leave_unrun("cheroot", __version__="")
        _stand_in("cheroot._compat", **_compatibility())
        _stand_in("jaraco.functools", pass_none=lambda function: function)


def _leave_unrun(name: str, **names: object) -> None:
    """Have the package there for its modules, without running its ``__init__``."""
    spec = importlib.util.find_spec(name)
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        module.__dict__.update(names)
        sys.modules[name] = module


def _stand_in(name: str, **names: object) -> None:
    if name not in sys.modules:
        sys.modules[name] = StandIn(name, **names)


def _compatibility() -> dict[str, object]:
    """What cheroot reads of its own module, which would import ssl for a version number that only its tests read."""
    return {
        "IS_WINDOWS": sys.platform == "win32",
        "IS_PPC": False,
        "bton": lambda value, encoding="ISO-8859-1": value.decode(encoding),
        "ntob": lambda value, encoding="ISO-8859-1": value.encode(encoding),
    }


install()
