"""The sums of a run over many requests."""

from __future__ import annotations

import math
from array import array
from decimal import Decimal
from typing import Any

from cascade.cli.output import seconds, usd
from cascade.types import Result, add_exactly

__all__ = ["Tally"]


class Tally:
    """Counts, the exact bill, and the times of the requests of one run."""

    def __init__(self) -> None:
        self.requests = 0
        self.accepted = 0
        self.escalated = 0
        self.calls = 0
        self.answered = 0
        self.cost_usd = Decimal(0)
        self.unknown_costs = 0
        self._latencies_s = array("d")

    def add(self, result: Result[Any] | None) -> None:
        """Count one request. None: it never became a call."""
        self.requests += 1
        if result is None:
            return
        self.calls += 1
        self.accepted += result.accepted
        self.escalated += result.escalations > 0
        self.answered += result.answer is not None
        self.unknown_costs += result.cost_usd is None
        self.cost_usd = add_exactly((self.cost_usd, result.known_cost_usd)) or Decimal(0)
        self._latencies_s.append(result.latency_s)

    def percentile_s(self, share: float) -> float | None:
        """The latency that this share of the calls stayed within (nearest rank). None: no calls."""
        if not self._latencies_s:
            return None
        ordered = sorted(self._latencies_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def as_row(self) -> dict[str, Any]:
        """For machines."""
        return {
            "requests": self.requests,
            "accepted": self.accepted,
            "escalated": self.escalated,
            "known_cost_usd": f"{self.cost_usd.normalize():f}",
            "unknown_costs": self.unknown_costs,
            "latency_p50_s": self.percentile_s(0.5),
            "latency_p95_s": self.percentile_s(0.95),
        }

    def __str__(self) -> str:
        cost = usd(self.cost_usd)
        if self.unknown_costs:
            cost = f"at least {cost} ({self.unknown_costs} of unknown cost)"
        parts = [f"{self.requests} requests: {self.accepted} accepted"]
        if rejected := self.calls - self.accepted:
            parts.append(f"{rejected} not accepted")
        if unread := self.requests - self.calls:
            parts.append(f"{unread} could not be read")
        parts += [f"{self.escalated} escalated", cost]
        half, most = self.percentile_s(0.5), self.percentile_s(0.95)
        if half is not None and most is not None:
            parts.append(f"p50 {seconds(half)}, p95 {seconds(most)}")
        return ", ".join(parts)
