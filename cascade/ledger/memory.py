"""A recorder for tests: keeps results as they are."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from cascade.ledger.feedback import Outcome, outcome_of
from cascade.options import check_count
from cascade.types import Result

__all__ = ["MemoryLedger"]


class MemoryLedger:
    """Keeps the newest results in memory, content and all: for tests and notebooks.

    Args:
        most: how many are kept.

    Attributes:
        results: the results, the oldest first.
        outcomes: what was said of calls later, as it was told.
    """

    def __init__(self, most: int = 10_000) -> None:
        check_count("most", most, least=1)
        self.results: deque[Result[Any]] = deque(maxlen=most)
        self.outcomes: deque[Outcome] = deque(maxlen=most)

    def record(self, result: Result[Any]) -> None:
        """Keep a result."""
        self.results.append(result)

    def record_outcome(
        self,
        request_id: str,
        *,
        correct: bool | None = None,
        score: float | None = None,
        label: str | None = None,
        by: str = "user",
    ) -> None:
        """Keep what came of an answer; as `Ledger.record_outcome`."""
        at = time.time()
        self.outcomes.append(
            outcome_of(request_id, by=by, at=at, correct=correct, score=score, label=label)
        )

    def __repr__(self) -> str:
        return f"<MemoryLedger of {len(self.results)} results>"
