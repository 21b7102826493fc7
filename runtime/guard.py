"""Which sites may talk to the server: checks of Host and Origin, and CORS.

A page of any site can make the browser send requests to 127.0.0.1. Two checks keep it out. A request whose Origin is
not the server's own is refused. And on a server that only this machine reaches, so is a request whose Host is no name
of this machine: a site that points its own name at 127.0.0.1 (DNS rebinding) has the right Origin, but its own name.
A server bound to other addresses may have any name, so there only the Origin is checked: give it a key.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from solofile.runtime.server_settings import ServerSettings

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PREFLIGHT_SECONDS = 600


def host_name(netloc: str) -> str:
    """The name in ``name:port``, lower case, brackets of IPv6 removed; empty where it is none."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def origin_netloc(origin: str) -> str:
    """``host:port`` of an origin, lower case; empty for ``null`` and for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class Guard:
    """The checks for one server's settings."""

    def __init__(self, settings: ServerSettings) -> None:
        """Prepare the sets of names."""
        self._settings = settings
        self._origins = {origin.lower() for origin in settings.allow_origins}
        self._any = "*" in self._origins
        self._local = "localhost" in self._origins
        self._names = (
            LOCAL_NAMES
            | {host.strip("[]").lower() for host in settings.hosts}
            | {host_name(origin_netloc(origin)) for origin in self._origins}
        )

    def refusal(self, host: str | None, origin: str | None) -> str | None:
        """Why a request with these header fields (None where absent) is refused; None where it is not.

        Without Host it is no browser's, without Origin it is no other site's, and nothing is to be checked.
        """
        if host is not None and not self._knows(host):
            return f"{_plain(host)} is no name of this server: call it by 127.0.0.1, or start it with --allow-origin."
        if origin is not None and not self.allows(origin) and origin_netloc(origin) != (host or "").lower():
            return f"Pages of {_plain(origin)} may not use this server: start it with --allow-origin {_plain(origin)}."
        return None

    def _knows(self, host: str) -> bool:
        return self._any or not self._settings.loopback or host_name(host) in self._names

    def allows(self, origin: str) -> bool:
        """Whether pages of ``origin`` were allowed by the user."""
        if self._any or origin.lower() in self._origins:
            return True
        return self._local and host_name(origin_netloc(origin)) in LOCAL_NAMES

    def cors(self, origin: str | None) -> list[tuple[str, str]]:
        """The header fields that let a page of an allowed ``origin`` read the answer."""
        if not self._origins:
            return []
        fields = [("Vary", "Origin")]
        if origin is not None and self.allows(origin):
            credentials = self._settings.cors_credentials
            # With credentials the wildcard means nothing to a browser, so the origin is named.
            fields.append(("Access-Control-Allow-Origin", "*" if self._any and not credentials else origin))
            if credentials:
                fields.append(("Access-Control-Allow-Credentials", "true"))
        return fields

    def preflight(self, origin: str | None, wanted_headers: str | None) -> list[tuple[str, str]]:
        """The answer's header fields for OPTIONS, beside those of `cors`."""
        if origin is None or not self.allows(origin):
            return []
        headers = self._settings.cors_headers
        if headers == "*" and wanted_headers:
            # The wildcard does not cover Authorization, which every client with a key sends.
            headers = wanted_headers
        return [
            ("Access-Control-Allow-Methods", self._settings.cors_methods),
            ("Access-Control-Allow-Headers", headers),
            ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
        ]


def _plain(value: str) -> str:
    """A header's value for a message: short, without control characters."""
    return "".join(char for char in value[:200] if char.isprintable()) or "an empty name"
