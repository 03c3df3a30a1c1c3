"""What is read only when somebody looks: circuits, queues, and what ledgers lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from cascade.live import lane_states, queue_depths
from cascade.telemetry.measures import (
    BREAKER_STATE,
    LEDGER_LOST,
    QUEUE_DEPTH,
    Measurement,
    Metric,
)

__all__ = ["Lossy", "read_now"]

_LEVELS: Final = {"closed": 0, "half_open": 1, "open": 2}


class Lossy(Protocol):
    """A ledger: a `Ledger`, or a `JsonLines`."""

    @property
    def lost(self) -> int:
        """How many calls it dropped."""
        ...


def read_now(metric: Metric, ledgers: Iterable[Lossy] = ()) -> Iterator[Measurement]:
    """The values of a metric that nobody counts along the way, one for each set of labels."""
    found: dict[tuple[str, ...], float] = {}
    if metric is BREAKER_STATE:
        # Tiers of one name share a label: the worst of them is told.
        for tier, deployment, state in lane_states():
            lane = (tier, deployment)
            found[lane] = max(found.get(lane, 0), _LEVELS[state])
    elif metric is QUEUE_DEPTH:
        for tier, waiting in queue_depths():
            found[(tier,)] = found.get((tier,), 0) + waiting
    elif metric is LEDGER_LOST:
        found[()] = sum(ledger.lost for ledger in ledgers)
    for labels, value in found.items():
        yield Measurement(metric, labels, value)
