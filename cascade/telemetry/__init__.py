"""Traces and metrics: `OpenTelemetry` (extra `otel`) and `Prometheus` (extra `prometheus`).

Both are observers, as in `Cascade(observers=[OpenTelemetry(), Prometheus()])`.
"""

from __future__ import annotations

from cascade.telemetry.otel import OpenTelemetry
from cascade.telemetry.prometheus import Prometheus
from cascade.telemetry.serving import Serving

__all__ = ["OpenTelemetry", "Prometheus", "Serving"]
