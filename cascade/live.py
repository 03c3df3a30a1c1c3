"""What is in use in this process right now: the circuits and the queues of its tiers.

Read by whoever watches the process, from any thread; nothing is kept alive by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from cascade.breaker import CircuitState

__all__ = ["LaneState", "QueueDepth", "Watched", "lane_states", "queue_depths", "watch"]


class LaneState(NamedTuple):
    """How the circuit of one deployment of a tier is."""

    tier: str
    deployment: str
    state: CircuitState


class QueueDepth(NamedTuple):
    """How many requests wait in the limits of a tier."""

    tier: str
    waiting: int


class Watched(Protocol):
    """Sends the requests of one tier."""

    def lane_states(self) -> Iterable[LaneState]:
        """The circuits of its deployments; those without one are left out."""
        ...

    def queue_depth(self) -> QueueDepth | None:
        """What waits in its limits. None: it has none."""
        ...


_watched: WeakSet[Watched] = WeakSet()
_lock = Lock()


def watch(one: Watched) -> None:
    """Have it among those that are asked, for as long as it lives."""
    with _lock:
        _watched.add(one)


def _all() -> list[Watched]:
    with _lock:
        return list(_watched)


def lane_states() -> list[LaneState]:
    """The circuits of all tiers that were asked in this process and are still in use."""
    return [state for one in _all() for state in one.lane_states()]


def queue_depths() -> list[QueueDepth]:
    """The queues of all tiers with limits that were asked and are still in use."""
    return [depth for one in _all() if (depth := one.queue_depth()) is not None]
