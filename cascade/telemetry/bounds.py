"""A bound on how many series a metric may have, whatever its labels turn out to hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cascade.logs import warn
from cascade.telemetry.measures import Metric

__all__ = ["MOST_SERIES", "OTHER", "Series"]

MOST_SERIES: Final = 1_000
OTHER: Final = "other"
"""Every label of what is beyond the bound."""

S = TypeVar("S")


class Series(Generic[S]):
    """The series of one metric, each made once and kept.

    Args:
        metric: whose they are.
        make: makes the series of some labels.
    """

    __slots__ = ("_made", "_make", "_metric")

    def __init__(self, metric: Metric, make: Callable[[tuple[str, ...]], S]) -> None:
        self._metric = metric
        self._make = make
        self._made: dict[tuple[str, ...], S] = {}

    def of(self, labels: tuple[str, ...]) -> S:
        """The series of these labels; beyond the bound, one that they all share."""
        series = self._made.get(labels)
        return self._new(labels) if series is None else series

    def _new(self, labels: tuple[str, ...]) -> S:
        if len(self._made) >= MOST_SERIES:
            others = (OTHER,) * len(labels)
            if others not in self._made:
                warn("metric_has_too_many_series", metric=self._metric.name, most=MOST_SERIES)
                self._made[others] = self._make(others)
            return self._made[others]
        series = self._made[labels] = self._make(labels)
        return series
