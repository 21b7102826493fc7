"""OpenTelemetry traces over OTLP/HTTP in JSON, to a collector on this machine or its network that the user names.

One span for each request that the model answers, with an event at its first token; a client's ``traceparent`` (W3C
Trace Context) makes it a part of the client's trace. OpenTelemetry's own SDK with its exporter (1.45) is 16 packages of
9 MB and 0.13 s of imports; what is sent here is specified in opentelemetry-proto (trace.proto, in its JSON mapping).

A thread sends what has come together every few seconds. A collector that does not answer loses spans, never requests.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from solofile.runtime import errands
from solofile.runtime.errors import InputError

if TYPE_CHECKING:
    from solofile.runtime.visit import Visit

SECONDS = 2.0
"""Between two sendings."""

MOST = 2048
"""Spans that wait to be sent."""

_TIMEOUT = 5.0
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_SERVER, _ERROR = 2, 2


class Endpoint:
    """Where the collector is: only on this machine or in a private network, and by its address, so that no name is
    asked for."""

    def __init__(self, url: str) -> None:
        """Check ``url``; `InputError` where it cannot be used."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 4318
        except ValueError as error:
            raise InputError(f"--otlp-endpoint {url} is no address: write it as in http://127.0.0.1:4318.") from error
        if parts.scheme != "http" or not host or parts.query or parts.username is not None:
            raise InputError(f"--otlp-endpoint {url} cannot be used: write it as in http://127.0.0.1:4318.")
        self.host, self.port = "127.0.0.1" if host == "localhost" else host, port
        self.path = parts.path.rstrip("/") or "/v1/traces"
        if not _is_near(self.host):
            raise InputError(
                f"--otlp-endpoint {url} is not on this machine or a private network: give it the address (no name) of "
                "a collector there."
            )

    def post(self, body: bytes) -> bool:
        """Send spans: does the collector take them?"""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _post(endpoint: Endpoint, body: bytes) -> bool:
    """The same from within the sandbox, which lets nothing connect: there the process outside does it."""
    errand = errands.running()
    if errand is None:
        return endpoint.post(body)
    try:
        return bool((errand.run(errands.TRACE, {}, body) or {}).get("sent"))
    except OSError:
        return False


def _is_near(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (address.is_loopback or address.is_private or address.is_link_local) and not address.is_unspecified


class Tracer:
    """Hands spans on, from a thread of its own."""

    def __init__(self, endpoint: Endpoint, facts: dict[str, str], dropped: Callable[[int], None]) -> None:
        """``facts`` describe this server (resource attributes); ``dropped`` counts spans that were lost."""
        self._endpoint, self._dropped = endpoint, dropped
        self._resource = {"attributes": _attributes({"service.name": "solofile", **facts})}
        self._spans: deque[dict[str, Any]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="solofile-traces", daemon=True)
        self._thread.start()

    def add(self, visit: Visit) -> None:
        """A request has ended."""
        if len(self._spans) >= MOST:
            self._dropped(1)
            return
        self._spans.append(span(visit))

    def close(self, seconds: float = 1.0) -> None:
        """Send what is left, if that takes no longer."""
        self._ending.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ending.wait(SECONDS):
            self._send()
        self._send()

    def _send(self) -> None:
        spans = [self._spans.popleft() for _ in range(len(self._spans))]
        if not spans:
            return
        scope = {"scope": {"name": "solofile"}, "spans": spans}
        body = json.dumps({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope]}]}).encode()
        if not _post(self._endpoint, body):
            self._dropped(len(spans))


def span(visit: Visit) -> dict[str, Any]:
    """A request as a span. Times are those of the wall clock at its begin, and go on by one that does not jump."""
    parent = _PARENT.fullmatch(visit.trace_parent)
    begin = int(visit.wall * 1e9)
    facts: dict[str, str | int | float] = {
        "http.request.method": visit.method,
        "http.route": visit.route,
        "http.response.status_code": visit.status,
        "client.address": visit.client,
        "solofile.request_id": visit.id,
        "solofile.end": visit.end,
        "gen_ai.usage.input_tokens": visit.usage.prompt + visit.usage.cached,
        "gen_ai.usage.cached_tokens": visit.usage.cached,
        "gen_ai.usage.output_tokens": visit.usage.completion,
    }
    if visit.key.name:
        facts["solofile.key"] = visit.key.name
    found: dict[str, Any] = {
        "traceId": parent[1] if parent else secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": f"{visit.method} {visit.route}",
        "kind": _SERVER,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int(visit.seconds * 1e9)),
        "attributes": _attributes(facts),
    }
    if parent:
        found["parentSpanId"] = parent[2]
    if visit.first is not None:
        found["events"] = [{"timeUnixNano": str(begin + int(visit.first * 1e9)), "name": "first token"}]
    if visit.status >= 500 or visit.end == "broken":
        found["status"] = {"code": _ERROR}
    return found


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in facts.items()]


def _value(value: object) -> dict[str, Any]:
    # 64-bit numbers are texts in protobuf's JSON.
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
