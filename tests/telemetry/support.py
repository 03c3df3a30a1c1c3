"""OpenTelemetry's SDK with everything kept in memory, and small cascades to watch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from cascade import Answer, Context, Price, Tier
from cascade.telemetry import OpenTelemetry
from cascade.testing import Scripted

USD = Price(input=1, output=2)


class Sdk:
    """An SDK of its own for one test."""

    def __init__(self, sampler: Sampler = ALWAYS_ON, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(sampler=sampler)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader])
        self.observer = OpenTelemetry(self.tracer_provider, self.meter_provider, **options)

    def spans(self) -> list[ReadableSpan]:
        """The finished spans, in the order in which they started."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def points(self) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
        """The name, labels and data of every point of every metric, as of now."""
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield metric.name, dict(point.attributes or {}), point

    def values(self, name: str) -> dict[tuple[Any, ...], Any]:
        """The value of each series of a metric (the count, of a histogram), by its labels."""
        return {
            tuple(labels.values()): getattr(point, "value" if hasattr(point, "value") else "count")
            for found, labels, point in self.points()
            if found == name
        }

    def everything(self) -> str:
        """All that was exported, as text."""
        data = self._reader.get_metrics_data()
        spans = [span.to_json() for span in self._exporter.get_finished_spans()]
        return "\n".join([*spans, data.to_json() if data else ""])


def scripted(name: str, *steps: Any, **options: Any) -> Tier:
    """A tier that answers by a script."""
    return Tier(name, call=Scripted(*steps), **{"price": USD, **options})


def good(answer: Answer[Any], context: Context) -> bool:
    """The validator: only "good" is good."""
    return answer.text == "good"


def facts(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    """The id of the span around it. None: there is none."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    """A span's own id."""
    assert span.context is not None
    own: int = span.context.span_id
    return own
