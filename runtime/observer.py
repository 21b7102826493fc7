"""Where all that is known of requests comes together: limits, metrics, the access log, traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from solofile.runtime.admission import Admission
from solofile.runtime.deadlines import Deadlines
from solofile.runtime.engine_api import Request
from solofile.runtime.metrics import Metrics
from solofile.runtime.stuck import Busy, StuckWatch
from solofile.runtime.visit import Visit, request_id

if TYPE_CHECKING:
    from solofile.runtime.access_log import AccessLog
    from solofile.runtime.engine_api import Engine
    from solofile.runtime.server_settings import About, ServerSettings
    from solofile.runtime.tracing import Tracer


class Observer:
    """Sees every request of one server begin and end. Any thread may call it."""

    def __init__(
        self, engine: Engine, settings: ServerSettings, about: About, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Open what ``settings`` name: `InputError` where the log cannot be written."""
        self._engine = engine
        self.admission = Admission(settings.queue)
        self.metrics = Metrics(self.admission, about.version, about.name)
        self.deadlines = Deadlines()
        self.stuck = StuckWatch(engine, say) if isinstance(engine, Busy) else None
        self._log = self._open_log(settings, say)
        self._tracer = self._open_tracer(settings, about)
        self._knows_slots = False
        self.shows_page = settings.page and settings.static_folder is None

    def _open_log(self, settings: ServerSettings, say: Callable[[str], None]) -> AccessLog | None:
        if settings.access_log is None:
            return None
        from solofile.runtime.access_log import AccessLog

        return AccessLog(settings.access_log, settings.access_log_bytes, say, self.metrics.log_failures.add)

    def _open_tracer(self, settings: ServerSettings, about: About) -> Tracer | None:
        if not settings.otlp_endpoint:
            return None
        from solofile.runtime.tracing import Endpoint, Tracer

        facts = {"service.version": about.version, "gen_ai.request.model": about.name}
        return Tracer(Endpoint(settings.otlp_endpoint), facts, self.metrics.spans_dropped.add)

    def begin(self, given_id: str | None, method: str, client: str, trace_parent: str) -> Visit:
        """A request has come."""
        return Visit(request_id(given_id), method, client, trace_parent)

    def end(self, visit: Visit) -> None:
        """It has ended, and its client has what it gets; may be called again."""
        if visit.over:
            return
        visit.over = True
        visit.close()
        self.release(visit)
        self.metrics.count(visit)
        if self._log is not None:
            self._log.write(visit)
        if self._tracer is not None and visit.generates:
            self._tracer.add(visit)

    def release(self, visit: Visit) -> None:
        """Nothing is computed for it any more, though its client may not have it all; may be called again."""
        if visit.ticket is not None and not visit.released:
            visit.released = True
            visit.count()
            self.admission.leave(visit.ticket, visit.usage.total)

    def learn_slots(self) -> None:
        """Ask the model, once it is loaded, how many answers it computes at once."""
        if self._knows_slots or self._engine.state().phase != "ready":
            return
        self._knows_slots = True
        answer = self._engine.call(Request("GET", "/props")).run()
        body = b"".join(answer)
        if answer.status == 200:
            slots = json.loads(body).get("total_slots")
            self.admission.slots = slots if isinstance(slots, int) and slots > 0 else 1

    def close(self) -> None:
        """The server has ended."""
        self.deadlines.stop()
        if self._tracer is not None:
            self._tracer.close()
        if self._log is not None:
            self._log.close()
