"""Attempts that broke, and those that were not even sent."""

from __future__ import annotations

from collections import Counter
from typing import Final

from sqlalchemy import func

from cascade.ledger.read import Reader
from cascade.ledger.tables import attempts, calls
from cascade.report.figures import Fault, Share
from cascade.report.selection import Selection

__all__ = ["IS_REFUSAL", "WENT_WRONG", "faults_of"]

REFUSALS: Final = ("CircuitOpenError", "LoadShedError")

WENT_WRONG = attempts.c.outcome.in_(("failed", "timed_out"))
IS_REFUSAL = WENT_WRONG & attempts.c.reason.in_(REFUSALS)


def faults_of(reader: Reader, selection: Selection) -> tuple[Fault, ...]:
    """What went wrong at each tier, the most frequent first."""
    asked = selection.of(attempts.c.tier, func.count()).where(attempts.c.outcome != "skipped")
    asked = asked.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    all_of: Counter[str] = Counter(dict(map(tuple, reader.rows(asked.group_by(attempts.c.tier)))))
    broken = selection.of(
        attempts.c.tier,
        attempts.c.reason,
        func.count(),
        func.min(calls.c.started_at),
        func.max(calls.c.started_at),
    )
    broken = broken.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    broken = broken.where(WENT_WRONG).group_by(attempts.c.tier, attempts.c.reason)
    found = [
        Fault(tier, reason, reason in REFUSALS, Share.made(n, all_of[tier]), first, last)
        for tier, reason, n, first, last in reader.rows(broken)
    ]
    return tuple(sorted(found, key=lambda one: (-one.attempts.count, one.tier, one.error)))
