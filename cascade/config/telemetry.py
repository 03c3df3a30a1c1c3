"""Where traces and metrics go, from the table of a configuration file."""

from __future__ import annotations

from collections.abc import Iterable

from cascade.config.mistakes import Mistakes
from cascade.config.telemetry_table import TelemetryTable
from cascade.ledger import JsonLines, Ledger
from cascade.observing import Observer
from cascade.telemetry import OpenTelemetry, Prometheus
from cascade.telemetry.serving import ServedPrometheus

__all__ = ["build_telemetry"]


def build_telemetry(
    table: TelemetryTable, observers: Iterable[Observer], mistakes: Mistakes
) -> list[Observer]:
    """What traces and measures the calls of all cascades of the file.

    Args:
        table: what the file says.
        observers: the others there are; what ledgers among them lose is measured.
        mistakes: notes what is wrong. Nothing is built then.
    """
    before = mistakes.met
    ledgers = [one for one in observers if isinstance(one, Ledger | JsonLines)]
    built: list[Observer] = []
    if not table.otel and table.prometheus is False:
        mistakes.add("telemetry", "it asks for nothing; write otel = true or prometheus = true")
    if table.otel:
        with mistakes.at("telemetry.otel"):
            built.append(OpenTelemetry(ledgers=ledgers))
    if table.prometheus is not False:
        with mistakes.at("telemetry.prometheus"):
            built.append(_metrics(Prometheus(ledgers=ledgers), table.prometheus))
    return built if mistakes.met == before else []


def _metrics(metrics: Prometheus, address: str | bool) -> Observer:
    if isinstance(address, bool):
        return metrics
    host, _, port = address.rpartition(":")
    return ServedPrometheus(metrics, int(port), host.strip("[]"))
