"""What is read only when somebody looks: circuits, queues, audits, and what ledgers lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from cascade.live import AuditState, audit_states, lane_states, queue_depths
from cascade.telemetry.measures import (
    AUDIT_DRIFT,
    AUDIT_QUALITY,
    AUDIT_REGRET,
    BREAKER_STATE,
    LEDGER_LOST,
    NONE,
    QUEUE_DEPTH,
    Measurement,
    Metric,
)

__all__ = ["Lossy", "read_now"]

_LEVELS: Final = {"closed": 0, "half_open": 1, "open": 2}
_OF_AUDITS: Final[dict[Metric, Callable[[AuditState], float]]] = {
    AUDIT_QUALITY: lambda state: state.quality,
    AUDIT_REGRET: lambda state: state.regret,
    AUDIT_DRIFT: lambda state: float(state.has_drifted),
}


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
    elif metric in _OF_AUDITS:
        for audit in audit_states():
            key = (audit.cascade or NONE, audit.path or NONE, audit.tier)
            found[key] = _OF_AUDITS[metric](audit)
    elif metric is LEDGER_LOST:
        found[()] = sum(ledger.lost for ledger in ledgers)
    for labels, value in found.items():
        yield Measurement(metric, labels, value)
