"""A run and its steps as OpenTelemetry spans, where somebody has set that up; otherwise nothing happens.

Only OpenTelemetry's API is used, and only when it is installed: provider and exporter are the user's
(``opentelemetry-instrument lockkeeper ...``). Exceptions are not recorded as events, since their tracebacks
may hold what no text of ours does: a span says what the report says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from lockkeeper.models import RunReport

INSTRUMENTATION = "lockkeeper"
_FAILED_CODES = (1, 3)


class RunTrace:
    """The spans of one run; the one of the run begins now, within whatever span is current."""

    def __init__(self, report: RunReport) -> None:
        self._tracer: Tracer | None = None
        if find_spec("opentelemetry") is None:
            return
        from opentelemetry import trace

        self._tracer = trace.get_tracer(INSTRUMENTATION)
        self._attributes = {
            "lockkeeper.run_id": report.run_id,
            "lockkeeper.operation": report.operation,
            "lockkeeper.target": report.target,
            "db.system.name": "postgresql",
            "db.namespace": report.database,
        }
        self._run = self._tracer.start_span(f"lockkeeper {report.operation}", attributes=self._attributes)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Span | None]:
        """Make a span of a step current for the block, below that of the run; ends in any case."""
        if self._tracer is None:
            yield None
            return
        from opentelemetry import trace

        within = trace.set_span_in_context(self._run)
        span = self._tracer.start_span(f"lockkeeper {name}", within, attributes=self._attributes)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    def end(self, report: RunReport) -> None:
        """End the span of the run with its outcome; a second time is harmless."""
        if self._tracer is None or report.outcome is None:
            return
        self._run.set_attribute("lockkeeper.outcome", report.outcome.value)
        if report.outcome.exit_code in _FAILED_CODES:
            mark_failed(self._run, report.error or report.outcome.value)
        self._run.end()


def mark_failed(span: Span | None, reason: str) -> None:
    """Say on a span why what it stands for has failed; ``reason`` is redacted already."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, reason)
