"""A projector of the bundle, which llama.cpp opens by a path: so it is copied to the cache, once, and named there.

It lies in ``models/<sha256>/`` of the cache (cache.py), checked while it is written, and goes when nobody has used it
for long. A file of the user's that --mmproj names is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from solofile.runtime import cache, options

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.container import Bundle
    from solofile.runtime.locks import Lock
    from solofile.runtime.selection import Place
    from solofile.runtime.settings import Launch
else:
    from solofile.runtime.record import NamedTuple

OPTION = "-mm"
_WANTED = "--mmproj-auto"

Say = Callable[[str], None]


class Placed(NamedTuple):
    """A start whose options name no projector inside the bundle any more; keep ``lock`` as long as it is in use.

    ``digest`` is the name of the projector's folder, empty without one.
    """

    launch: Launch
    digest: str = ""
    lock: Lock | None = None


def named(launch: Launch, bundle: Bundle) -> str:
    """The part of the bundle that the start's options name as its projector, empty for none."""
    value = ""
    for one in options.parse(launch.core):
        if one.option.key == OPTION:
            value = one.values[0]
    return value if value.startswith("models/") and value in bundle.parts else ""


def placed(launch: Launch, place: Place, say: Say) -> Placed:
    """Put the projector into the cache unless it is there. Raises CacheError where it cannot be written."""
    bundle = place.bundle
    name = named(launch, bundle) if {OPTION, "--mmproj"} & set(launch.core) else ""
    if not name:
        return Placed(launch)
    if _is_unwanted(launch):
        return Placed(_with(launch, name, None))
    part = bundle.part(name)
    wanted = cache.Wanted(name.rpartition("/")[2], part.sha256, part.size)
    path, lock = cache.ensure_file(place.cache, cache.MODELS, wanted, lambda: bundle.open_part(part), say)
    return Placed(_with(launch, name, str(path)), part.sha256, lock)


def _is_unwanted(launch: Launch) -> bool:
    """Does the user say --no-mmproj?"""
    said = [one for one in options.parse(launch.core) if one.option.key == _WANTED]
    return bool(said) and said[-1].negated


def _with(launch: Launch, name: str, path: str | None) -> Launch:
    """``launch`` with a ``path`` where its options name the projector, or without them."""
    words: list[str] = []
    for one in options.parse(launch.core):
        if one.option.key != OPTION or one.values[0] != name:
            words += one.words()
        elif path is not None:
            words += [one.spelling, path]
    return launch._replace(core=tuple(words))
