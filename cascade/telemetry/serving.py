"""Metrics at an address of their own, for programs that have no web server to mount them in."""

from __future__ import annotations

from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from cascade.logs import warn
from cascade.types import Result

if TYPE_CHECKING:
    from cascade.telemetry.prometheus import Prometheus

__all__ = ["ServedPrometheus", "Serving"]


class Serving:
    """A thread that shows metrics, until `close`, or the end of the program."""

    def __init__(self, server: Any, thread: Thread) -> None:
        self._server = server
        self._thread = thread

    @property
    def address(self) -> tuple[str, int]:
        """The address and port it listens on."""
        host, port, *_ = self._server.server_address
        return host, port

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    def close(self) -> None:
        """Stop showing them."""
        with _lock:
            for address in [one for one, serving in _served.items() if serving is self]:
                del _served[address]
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ServedPrometheus:
    """A `Prometheus` that is served from the first call on, as a configuration file asks.

    An address that is taken is logged as `metrics_not_served`, and calls go on. One that this
    process serves already is not served again.

    Args:
        metrics: what is served.
        port, host: as for `Prometheus.serve`.

    Attributes:
        address: the host and port.
    """

    def __init__(self, metrics: Prometheus, port: int, host: str) -> None:
        self._metrics = metrics
        self.address = host, port
        self._started: Thread | None = None

    def record(self, result: Result[Any]) -> None:
        """Add a call to the metrics."""
        if self._started is None:
            # Not here: to bind an address may ask the name service.
            self._started = Thread(target=self._start, name="cascade-metrics", daemon=True)
            self._started.start()
        self._metrics.record(result)

    def serving(self) -> Serving | None:
        """What serves it; blocks until that has started. None: no call yet, or it failed."""
        if self._started is not None:
            self._started.join()
        return _served.get(self.address)

    def _start(self) -> None:
        host, port = self.address
        with _lock:
            if self.address in _served:
                return
            try:
                _served[self.address] = self._metrics.serve(port, host)
            except Exception as error:
                warn("metrics_not_served", host=host, port=port, error=type(error).__name__)


_served: dict[tuple[str, int], Serving] = {}
_lock = Lock()
