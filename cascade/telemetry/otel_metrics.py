"""The metrics as OpenTelemetry's instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from cascade.telemetry.bounds import Series
from cascade.telemetry.gauges import Lossy, read_now
from cascade.telemetry.measures import LEDGER_LOST, METRICS, Measurement, Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

__all__ = ["Add", "instruments"]

Add: TypeAlias = Callable[[float], None]
"""Adds to one series of a metric."""


def instruments(meter: Meter, ledgers: tuple[Lossy, ...]) -> dict[str, Series[Add]]:
    """What adds to each metric that calls are measured by, by the metric's name.

    Those that are read when somebody looks come with them.
    """
    made: dict[str, Series[Add]] = {}
    for metric in METRICS:
        if metric.kind == "histogram":
            made[metric.name] = _histogram(meter, metric)
        elif metric.kind == "counter" and metric is not LEDGER_LOST:
            made[metric.name] = _counter(meter, metric)
        elif metric is not LEDGER_LOST or ledgers:
            _observed(meter, metric, partial(read_now, metric, ledgers))
    return made


def _histogram(meter: Meter, metric: Metric) -> Series[Add]:
    histogram = meter.create_histogram(
        metric.name,
        metric.unit,
        metric.description,
        explicit_bucket_boundaries_advisory=metric.buckets,
    )

    def add(labels: tuple[str, ...]) -> Add:
        return partial(histogram.record, attributes=_attributes(metric, labels))

    return Series(metric, add)


def _counter(meter: Meter, metric: Metric) -> Series[Add]:
    """A counter that is summed up here, and told when it is asked for.

    A counter of the SDK's takes about thirty times as long for each number.
    """
    sums: dict[tuple[str, ...], float] = {}
    lock = Lock()

    def add_to(labels: tuple[str, ...], value: float) -> None:
        with lock:
            sums[labels] = sums.get(labels, 0) + value

    def read() -> Iterable[Measurement]:
        with lock:
            return [Measurement(metric, labels, value) for labels, value in sums.items()]

    _observed(meter, metric, read)
    return Series(metric, lambda labels: partial(add_to, labels))


def _observed(meter: Meter, metric: Metric, read: Callable[[], Iterable[Measurement]]) -> None:
    from opentelemetry.metrics import Observation

    def observe(options: CallbackOptions) -> Iterable[Observation]:
        for _, labels, value in read():
            yield Observation(value, _attributes(metric, labels))

    is_gauge = metric.kind == "gauge"
    create = meter.create_observable_gauge if is_gauge else meter.create_observable_counter
    create(metric.name, [observe], metric.unit, metric.description)


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
