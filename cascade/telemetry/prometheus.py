"""`Prometheus`: the metrics of every call, for a Prometheus server to fetch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from cascade.errors import ConfigError
from cascade.telemetry.bounds import Series
from cascade.telemetry.gauges import Lossy, read_now
from cascade.telemetry.measures import LEDGER_LOST, METRICS, Metric, measured
from cascade.telemetry.serving import Serving
from cascade.types import Result

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Prometheus"]

HOST: Final = "127.0.0.1"
App: TypeAlias = Callable[..., Any]


class Prometheus:
    """The metrics of every call, in a registry of `prometheus_client` (extra `prometheus`).

        metrics = Prometheus()
        cascade = Cascade(..., observers=[metrics])
        metrics.serve(9464)

    Several of one registry share its metrics. With the environment variable
    `PROMETHEUS_MULTIPROC_DIR`, what is shown is that of all processes together, without the
    gauges and `cascade_ledger_lost_total`, which `prometheus_client` cannot add up.

    Args:
        registry: None: the client's default registry, with whatever else the program counts.
        ledgers: whose lost calls are exported too.

    Raises:
        ConfigError: `prometheus_client` is not installed.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, ledgers: Iterable[Lossy] = ()
    ) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigError(
                'Prometheus needs prometheus-client; pip install "cascade-engine[prometheus]"'
            )
        import prometheus_client

        self._registry = prometheus_client.REGISTRY if registry is None else registry
        self._series = _series_in(self._registry, tuple(ledgers))

    def record(self, result: Result[Any]) -> None:
        """Add a call to the metrics."""
        for metric, labels, value in measured(result):
            self._series[metric.name].of(labels)(value)

    def serve(self, port: int, host: str = HOST) -> Serving:
        """Show the metrics at http://HOST:PORT/metrics, from a thread of its own.

        Args:
            port: 0: any that is free.
            host: the address to listen on. The default is this machine alone: metrics tell what
                is spent.

        Raises:
            OSError: the address is taken.
        """
        from prometheus_client import start_http_server

        server, thread = start_http_server(port, host, self._shown())
        return Serving(server, thread)

    def asgi_app(self) -> App:
        """The metrics as an ASGI application, to mount in one."""
        import prometheus_client

        client: Any = prometheus_client  # its applications have no types
        app: App = client.make_asgi_app(self._shown())
        return app

    def wsgi_app(self) -> App:
        """The metrics as a WSGI application, to mount in one."""
        import prometheus_client

        client: Any = prometheus_client  # its applications have no types
        app: App = client.make_wsgi_app(self._shown())
        return app

    def _shown(self) -> CollectorRegistry:
        """The registry to show: this process's own, or one that adds up all processes."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return self._registry
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return together


Add = Callable[[float], None]


class _Readings:
    """A collector of what is read only when somebody looks."""

    def __init__(self) -> None:
        self.ledgers: set[Lossy] = set()

    def collect(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for metric in METRICS:
            if not _is_read(metric) or (metric is LEDGER_LOST and not self.ledgers):
                continue
            family_of = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
            family = family_of(metric.prometheus_name, metric.description, labels=metric.labels)
            for _, labels, value in read_now(metric, self.ledgers):
                family.add_metric(labels, value)
            yield family


_registries: WeakKeyDictionary[CollectorRegistry, tuple[dict[str, Series[Add]], _Readings]] = (
    WeakKeyDictionary()
)
_lock = Lock()


def _series_in(registry: CollectorRegistry, ledgers: Iterable[Lossy]) -> dict[str, Series[Add]]:
    """What adds to each metric of a registry, by the metric's name; made once in each."""
    with _lock:
        if registry not in _registries:
            readings = _Readings()
            series = {m.name: _series(m, registry) for m in METRICS if not _is_read(m)}
            registry.register(readings)
            _registries[registry] = series, readings
        series, readings = _registries[registry]
        readings.ledgers.update(ledgers)
        return series


def _is_read(metric: Metric) -> bool:
    return metric.kind == "gauge" or metric is LEDGER_LOST


def _series(metric: Metric, registry: CollectorRegistry) -> Series[Add]:
    from prometheus_client import Counter, Histogram

    name, labels = metric.prometheus_name, metric.labels
    if metric.kind == "counter":
        counter = Counter(name, metric.description, labels, registry=registry)
        return Series(metric, lambda values: counter.labels(*values).inc)
    histogram = Histogram(
        name, metric.description, labels, buckets=metric.buckets, registry=registry
    )
    return Series(metric, lambda values: histogram.labels(*values).observe)
