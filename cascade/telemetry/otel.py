"""`OpenTelemetry`: spans and metrics of every call, through the API that the host configured."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cascade.errors import ConfigError
from cascade.observing import CallSpan
from cascade.telemetry import spans
from cascade.telemetry.conventions import ERROR_TYPE, SCHEMA_URL
from cascade.telemetry.gauges import Lossy
from cascade.telemetry.measures import measured
from cascade.telemetry.otel_metrics import instruments
from cascade.types import Attempt, Result

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["OpenTelemetry"]

NAME: Final = "cascade"
"""The instrumentation scope."""


class OpenTelemetry:
    """A span for each call and each attempt, and the metrics, by OpenTelemetry's API.

        cascade = Cascade(..., observers=[OpenTelemetry()])

    It needs the extra `otel`, which is the API alone; where its data goes is for the program to
    say, with the SDK. Attempts are spans "chat {model}" of the kind CLIENT, by the semantic
    conventions for generative AI; they are current while the tier is asked and judged, so that
    spans of HTTP clients and of code of your own lie within them.

    Make one and share it among all cascades.

    Args:
        tracer_provider, meter_provider: where spans and metrics go. None: to the global ones.
        ledgers: whose lost calls are exported too.

    Raises:
        ConfigError: the API is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        ledgers: Iterable[Lossy] = (),
    ) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
            raise ConfigError(
                'OpenTelemetry needs opentelemetry-api; pip install "cascade-engine[otel]"'
            )
        from opentelemetry import metrics, trace

        self._trace = trace
        release = version("cascade-engine")
        self._tracer = trace.get_tracer(NAME, release, tracer_provider, SCHEMA_URL)
        meter = metrics.get_meter(NAME, release, meter_provider, SCHEMA_URL)
        self._series = instruments(meter, tuple(ledgers))

    def record(self, result: Result[Any]) -> None:
        """Add a call to the metrics."""
        for metric, labels, value in measured(result):
            self._series[metric.name].of(labels)(value)

    @contextmanager
    def call_span(self, cascade: str | None, path: str | None) -> Generator[CallSpan]:
        """The span of one call, current inside of it."""
        name = "cascade" if cascade is None else f"cascade {cascade}"
        span = self._tracer.start_span(name, attributes=spans.call_begins(cascade, path))
        call = _Call(span)
        token = _current.set(call)
        try:
            with self._made_current(span):
                yield call.told
        finally:
            _current.reset(token)
            call.end_attempts()
            span.end()

    @contextmanager
    def attempt_span(self, attempt: Attempt) -> Generator[None]:
        """The span of one attempt, current inside of it."""
        kinds = self._trace.SpanKind
        span = self._tracer.start_span(
            spans.attempt_name(attempt),
            kind=kinds.INTERNAL if attempt.model is None else kinds.CLIENT,
            attributes=spans.attempt_begins(attempt),
        )
        try:
            with self._made_current(span):
                yield
        finally:
            ended = _Ended(span, attempt, time.time_ns())
            call = _current.get()
            if call is None:
                ended.close()
            else:
                call.ended.append(ended)

    def _made_current(self, span: Span) -> AbstractContextManager[Span]:
        # What an exception says may be content.
        return self._trace.use_span(span, record_exception=False, set_status_on_exception=False)


class _Ended(NamedTuple):
    """An attempt that is over. Its span is kept open until its call is over too.

    Only then it is certain what the attempt came to: of two that raced, one was called off.
    """

    span: Span
    attempt: Attempt
    at_ns: int

    def close(self) -> None:
        span, attempt, at_ns = self
        if span.is_recording():
            span.set_attributes(spans.attempt_ended(attempt))
            for event in spans.attempt_events(attempt):
                span.add_event(event.name, event.attributes, timestamp=at_ns)
            _set_error(span, spans.attempt_error(attempt))
        span.end(end_time=at_ns)


class _Call:
    """A call under way."""

    __slots__ = ("ended", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.ended: list[_Ended] = []

    def told(self, result: Result[Any], /) -> None:
        self.end_attempts()
        span = self.span
        if span.is_recording():
            span.set_attributes(spans.call_ended(result))
            for event in spans.call_events(result):
                span.add_event(event.name, event.attributes)
            _set_error(span, spans.call_error(result))

    def end_attempts(self) -> None:
        while self.ended:
            self.ended.pop(0).close()


_current: ContextVar[_Call | None] = ContextVar("cascade_call_span", default=None)


def _set_error(span: Span, error: str | None) -> None:
    from opentelemetry.trace import StatusCode

    if error is not None:
        span.set_attribute(ERROR_TYPE, error)
        span.set_status(StatusCode.ERROR)
