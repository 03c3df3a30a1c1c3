"""What is in use in this process right now: the circuits, queues and audits of its cascades.

Read by whoever watches the process, from any thread; nothing is kept alive by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from cascade.breaker import CircuitState

__all__ = [
    "AuditState",
    "Audited",
    "LaneState",
    "QueueDepth",
    "Watched",
    "audit_states",
    "lane_states",
    "queue_depths",
    "watch",
    "watch_audits",
]


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


class AuditState(NamedTuple):
    """What the audits of one tier's accepted answers on one path say.

    Attributes:
        cascade, path: None: it has no name; calls without a path.
        quality: the mean score of all accepted answers, from 0 to 1, estimated.
        regret: by how much the strongest tier's answers would have scored more.
        has_drifted: whether the alarm rang.
    """

    cascade: str | None
    path: str | None
    tier: str
    quality: float
    regret: float
    has_drifted: bool


class Audited(Protocol):
    """Audits the calls of one cascade."""

    def audit_states(self) -> Iterable[AuditState]:
        """By path and tier."""
        ...


_watched: WeakSet[Watched] = WeakSet()
_audited: WeakSet[Audited] = WeakSet()
_lock = Lock()


def watch(one: Watched) -> None:
    """Have it among those that are asked, for as long as it lives."""
    with _lock:
        _watched.add(one)


def watch_audits(one: Audited) -> None:
    """Have its audits among those that are told, for as long as it lives."""
    with _lock:
        _audited.add(one)


def _all() -> list[Watched]:
    with _lock:
        return list(_watched)


def lane_states() -> list[LaneState]:
    """The circuits of all tiers that were asked in this process and are still in use."""
    return [state for one in _all() for state in one.lane_states()]


def queue_depths() -> list[QueueDepth]:
    """The queues of all tiers with limits that were asked and are still in use."""
    return [depth for one in _all() if (depth := one.queue_depth()) is not None]


def audit_states() -> list[AuditState]:
    """What the audits of all cascades in use say."""
    with _lock:
        auditors = list(_audited)
    return [state for one in auditors for state in one.audit_states()]
