"""The page: a few files that ship with the bundle, or a folder of the user's in their place."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from solofile.runtime import slim  # noqa: F401 - first, it makes the next imports cheap

# isort: split
from flask import Blueprint, Response, redirect, request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from solofile.runtime.server_settings import Icon, ServerSettings
    from werkzeug.wrappers import Response as BaseResponse

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

_NAMES = """
index.html icon.svg style.css sw.js
about.js answers.js app.js blocks.js chat.js chats.js code.js composer.js conversation.js dom.js entities.js files.js
inline.js keyboard.js live.js loading.js log.js markdown.js math-symbols.js math.js message.js models.js notices.js
parameters.js presence.js prompts.js server.js settings.js sidebar.js store.js stream.js strings.js transfer.js
languages/de.js languages/en.js
vendor/speed-highlight/tokenize.js
"""

_COLOURED = "bash c css diff go java js py rs xml yaml"

FILES = {
    name: f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    for name in [*_NAMES.split(), *(f"vendor/speed-highlight/languages/{name}.js" for name in _COLOURED.split())]
}
"""The page's files and their types."""

ICON = "/icon"
"""Where the page's icon is: the bundle's own, or that of every page."""

PAGE_PATHS = frozenset({"/", ICON, *(f"/{name}" for name in FILES)})
"""Open without a key: they hold nothing of the user's, and ask for the key."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        # Nothing turns text into markup or code: the browser refuses it to every script of the page.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def make_blueprint(settings: ServerSettings, icon: Icon | None = None) -> Blueprint:
    """``/`` and its files, with the bundle's ``icon``."""
    group = Blueprint("page", __name__, url_prefix=settings.api_prefix or None)
    if not settings.page:
        _add_files(group, ["sw.js"])
        return group
    if settings.static_folder is not None:
        _add_folder(group, settings.static_folder)
    else:
        _add_files(group, FILES)
        group.add_url_rule(ICON, "icon", partial(_icon, icon), provide_automatic_options=False)
    if settings.api_prefix:
        # The page's own addresses are relative, so it needs the slash at the end.
        group.add_url_rule("", "bare", lambda: redirect(f"{settings.api_prefix}/"), provide_automatic_options=False)
    return group


def _add_files(group: Blueprint, names: Iterable[str]) -> None:
    for name in names:
        endpoint = name.replace(".", " ")  # which a Blueprint does not allow
        group.add_url_rule(f"/{name}", endpoint, partial(_file, name), provide_automatic_options=False)
        if name == "index.html":
            group.add_url_rule("/", endpoint, provide_automatic_options=False)


def _icon(icon: Icon | None) -> Response:
    if icon is None:
        return _file("icon.svg")
    if request.headers.get("If-None-Match") == icon.tag:
        return Response(status=304, headers={**PAGE_HEADERS, "ETag": icon.tag})
    return Response(icon.data, content_type=icon.kind, headers={**PAGE_HEADERS, "ETag": icon.tag})


def _file(name: str) -> Response:
    tag = file_tag(name)
    if request.headers.get("If-None-Match") == tag:
        return Response(status=304, headers={**PAGE_HEADERS, "ETag": tag})
    return Response(page_file(name), content_type=FILES[name], headers={**PAGE_HEADERS, "ETag": tag})


@cache
def page_file(name: str) -> bytes:
    """One file of the page."""
    from importlib.resources import files  # late: only who opens the page needs it

    return files("solofile.webui").joinpath(*name.split("/")).read_bytes()


@cache
def file_tag(name: str) -> str:
    """What a browser asks with whether its copy of a file is still the right one."""
    from hashlib import sha256

    return f'"{sha256(page_file(name)).hexdigest()[:32]}"'


def _add_folder(group: Blueprint, folder: Path) -> None:
    """``--path``: files of ``folder``, links followed; a folder is served as its index.html."""
    root = folder.resolve()

    def file(name: str = "") -> BaseResponse:
        from flask import abort, send_file
        from werkzeug.security import safe_join

        joined = safe_join(str(root), name)
        if joined is None:
            abort(404)
        path = root.__class__(joined)
        if path.is_dir():
            if name and not name.endswith("/"):
                return redirect(f"{request.path}/")
            path = path / "index.html"
        if not path.is_file():
            if name == "sw.js":
                return _file(name)
            abort(404)
        return send_file(path, conditional=True)

    group.add_url_rule("/", "index", file, provide_automatic_options=False)
    group.add_url_rule("/<path:name>", "file", file, provide_automatic_options=False)
